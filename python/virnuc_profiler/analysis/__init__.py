# SPDX-License-Identifier: MIT
"""Pure functions on records: no files, no torch, no clock."""
