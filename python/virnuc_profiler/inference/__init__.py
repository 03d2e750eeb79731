# SPDX-License-Identifier: MIT
"""Packed ESM-2 inference: sequences in, one vector per sequence out."""
