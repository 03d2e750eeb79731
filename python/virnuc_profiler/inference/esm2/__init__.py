# SPDX-License-Identifier: MIT
"""The ESM-2 model: configuration, weights and forward."""
