# SPDX-License-Identifier: MIT
"""NVTX ranges projected onto GPU work in an Nsight Systems capture."""
