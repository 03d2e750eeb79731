# SPDX-License-Identifier: MIT
"""What the host did to a run: interruptions."""
