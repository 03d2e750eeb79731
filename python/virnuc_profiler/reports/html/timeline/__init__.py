# SPDX-License-Identifier: MIT
"""The timeline of one run in a page: its data, its charts, and the script that shows any part of it."""
