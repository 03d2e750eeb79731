# SPDX-License-Identifier: MIT
"""Capture what the device does in some batches, kernel by kernel."""
