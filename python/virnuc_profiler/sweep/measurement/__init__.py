# SPDX-License-Identifier: MIT
"""The measurement of configurations: one at a time into the journal, in blocks, and as a race."""
