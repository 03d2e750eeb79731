# SPDX-License-Identifier: MIT
"""Records of runs, and the files that hold them."""
