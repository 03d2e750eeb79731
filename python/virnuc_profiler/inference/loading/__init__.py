# SPDX-License-Identifier: MIT
"""Feed the main process from DataLoader workers."""
