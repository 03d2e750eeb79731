# SPDX-License-Identifier: MIT
"""GPU samples: load and throttling."""
