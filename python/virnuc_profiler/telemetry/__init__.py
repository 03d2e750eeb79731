# SPDX-License-Identifier: MIT
"""Records, their schema and their files."""
