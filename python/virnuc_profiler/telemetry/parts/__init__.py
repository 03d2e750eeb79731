# SPDX-License-Identifier: MIT
"""Records of optional parts of a saved run."""
