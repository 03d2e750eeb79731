# SPDX-License-Identifier: MIT
"""Pack encoded sequences into batches without padding."""
