# SPDX-License-Identifier: MIT
"""Load and throttling of the GPU, from NVML samples."""
