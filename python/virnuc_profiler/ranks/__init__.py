# SPDX-License-Identifier: MIT
"""Ranks of one job: who they are, what they share on a host, and how they divide the work. Needs no PyTorch."""
