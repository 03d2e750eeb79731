# SPDX-License-Identifier: MIT
"""One measured configuration, from the model to its outcome."""
