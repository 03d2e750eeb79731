# SPDX-License-Identifier: MIT
"""The GPU's work between the matrix products, in Triton: each kernel reads and writes its tensors once.

Only modules that have made sure of :func:`~virnuc_profiler.inference.kernels.availability.obstacle` import the others,
for Triton comes with PyTorch for CUDA and with no other.
"""
