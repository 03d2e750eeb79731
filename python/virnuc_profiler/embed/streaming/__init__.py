# SPDX-License-Identifier: MIT
"""From claimed shards to files: one loader and one runner for all shards of a process."""
