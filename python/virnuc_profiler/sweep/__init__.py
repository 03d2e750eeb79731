# SPDX-License-Identifier: MIT
"""Plans trials, runs them, chooses."""
