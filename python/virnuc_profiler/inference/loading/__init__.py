# SPDX-License-Identifier: MIT
"""Read and encode sequences in DataLoader workers."""
