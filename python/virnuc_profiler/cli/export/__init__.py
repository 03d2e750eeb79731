# SPDX-License-Identifier: MIT
"""``virnuc-profiler export``."""
