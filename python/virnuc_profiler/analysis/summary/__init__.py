# SPDX-License-Identifier: MIT
"""Figures of a batch, a run, or several shards."""
