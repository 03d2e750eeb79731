# SPDX-License-Identifier: MIT
"""Reports: files and text made from records."""
