# SPDX-License-Identifier: MIT
"""System resources of this process: device memory, shared memory, file descriptors, child processes."""
