# SPDX-License-Identifier: MIT
"""The figures of a run, a batch, or several shards."""
