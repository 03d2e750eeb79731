# SPDX-License-Identifier: MIT
"""The settings that a program can be tuned by, and their values."""
