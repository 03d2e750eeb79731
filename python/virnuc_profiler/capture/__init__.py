# SPDX-License-Identifier: MIT
"""Measuring: the profiler around a loop, and the machine it ran on."""
