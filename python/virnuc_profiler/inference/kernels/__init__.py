# SPDX-License-Identifier: MIT
"""Triton kernels for the GPU work between the matrix products; each reads and writes its tensors once.

Import these modules only after ``kernels.availability.unavailable_reason`` has returned an empty string: Triton ships
with PyTorch for CUDA only.
"""
