# SPDX-License-Identifier: MIT
"""What the measurements of a sweep show: comparisons, ties, and which configuration to recommend. Pure."""
