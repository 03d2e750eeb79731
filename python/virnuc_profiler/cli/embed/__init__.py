# SPDX-License-Identifier: MIT
"""The command ``embed``."""
