# SPDX-License-Identifier: MIT
"""What of a job is finished, as its folder records it."""
