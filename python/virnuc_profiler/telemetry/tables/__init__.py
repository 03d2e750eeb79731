# SPDX-License-Identifier: MIT
"""Runs as tables for other programs: batches, stages and samples."""
