# SPDX-License-Identifier: MIT
"""Measurement: the profiler for a loop over batches, device calibration, and a description of the machine."""
