# SPDX-License-Identifier: MIT
"""Fuzz targets for all readers of files; ``docs/develop.md`` explains how to run them."""
