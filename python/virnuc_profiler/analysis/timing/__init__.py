# SPDX-License-Identifier: MIT
"""Intervals, completion times and steady state."""
