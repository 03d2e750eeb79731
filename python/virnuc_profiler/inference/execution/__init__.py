# SPDX-License-Identifier: MIT
"""Run batches on a device: copies, forward, pooling, and the buffers between them."""
