# SPDX-License-Identifier: MIT
"""NVTX ranges of an Nsight Systems capture, projected onto GPU work."""
