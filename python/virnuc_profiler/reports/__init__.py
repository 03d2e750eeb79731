# SPDX-License-Identifier: MIT
"""Records to text."""
