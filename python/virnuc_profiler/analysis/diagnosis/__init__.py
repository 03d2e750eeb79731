# SPDX-License-Identifier: MIT
"""Lost time and bottleneck of a run."""
