# SPDX-License-Identifier: MIT
"""The journal, and the result files that are made from it."""
