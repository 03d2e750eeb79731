# SPDX-License-Identifier: MIT
"""Comparisons: the files of a side are read, baselines are kept, and the result is rendered."""
