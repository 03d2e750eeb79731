# SPDX-License-Identifier: MIT
"""Where a run lost its time, and what limits it."""
