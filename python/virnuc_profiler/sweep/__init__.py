# SPDX-License-Identifier: MIT
"""Measure configurations, survive their failures, and choose the best."""
