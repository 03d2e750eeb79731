# SPDX-License-Identifier: MIT
"""Reports of files and folders as HTML pages, and what the text report shares with them."""
