# SPDX-License-Identifier: MIT
"""What the sampling threads read, while a run goes on, and what a machine lets them read."""
