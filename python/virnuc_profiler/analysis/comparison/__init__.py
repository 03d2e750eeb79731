# SPDX-License-Identifier: MIT
"""Comparison of two sides, each of one or more measured runs: verdicts, effects and what differs. Pure functions."""
