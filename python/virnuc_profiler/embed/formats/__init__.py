# SPDX-License-Identifier: MIT
"""The files that hold a shard's vectors."""
