# SPDX-License-Identifier: MIT
"""Notes on what a process did before its batches ran at their pace."""
