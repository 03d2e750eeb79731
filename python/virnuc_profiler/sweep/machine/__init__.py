# SPDX-License-Identifier: MIT
"""What the machine holds: memory, shared segments, descriptors, processes."""
