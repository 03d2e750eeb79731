# SPDX-License-Identifier: MIT
"""Nsight Systems exports: read, and rendered as tables and JSON."""
