# SPDX-License-Identifier: MIT
"""Read and encode protein sequences."""
