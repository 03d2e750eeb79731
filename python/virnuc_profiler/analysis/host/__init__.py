# SPDX-License-Identifier: MIT
"""What the host did to a run: interruptions, and the CPU time that it granted."""
