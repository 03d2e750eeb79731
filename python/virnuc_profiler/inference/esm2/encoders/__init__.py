# SPDX-License-Identifier: MIT
"""Implementations of the ESM-2 encoder, and the choice between them."""
