# SPDX-License-Identifier: MIT
"""Runs in the formats of other tools: traces, and tables of batches, stages and samples."""
