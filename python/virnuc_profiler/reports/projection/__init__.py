# SPDX-License-Identifier: MIT
"""The projection of a job from a saved run or a sweep: what is read for it, and its text."""
