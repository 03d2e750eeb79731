# SPDX-License-Identifier: MIT
"""Time intervals, completion times and steady state."""
