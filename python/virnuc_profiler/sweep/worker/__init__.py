# SPDX-License-Identifier: MIT
"""The supervised process that holds the model."""
