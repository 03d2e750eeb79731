# SPDX-License-Identifier: MIT
"""A run as columns on one time axis, and its honest reduction to as many parts as a screen has pixels."""
