# SPDX-License-Identifier: MIT
"""Sequences to packs to hidden states to vectors."""
