# SPDX-License-Identifier: MIT
"""The options that commands share, and the checks of what they name."""
