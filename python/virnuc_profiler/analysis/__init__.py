# SPDX-License-Identifier: MIT
"""Pure functions on records, without files, torch or clocks."""
