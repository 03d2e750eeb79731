# SPDX-License-Identifier: MIT
"""Kernels and copies that CUPTI recorded in a few batches: pure functions on a trace and the run beside it."""
