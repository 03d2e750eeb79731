# SPDX-License-Identifier: MIT
"""Add the kernels of some batches to a measured run."""
