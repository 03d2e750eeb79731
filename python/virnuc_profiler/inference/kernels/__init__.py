# SPDX-License-Identifier: MIT
"""The GPU's work between the matrix products, in Triton: each kernel reads and writes its tensors once.

Import them only after ``kernels.availability.unavailable_reason`` has found no reason against it: Triton comes with
PyTorch for CUDA and with no other.
"""
