# SPDX-License-Identifier: MIT
"""Confidence intervals of rates, and verdicts on differences between them. Pure."""
