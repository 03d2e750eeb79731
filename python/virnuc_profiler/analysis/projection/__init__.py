# SPDX-License-Identifier: MIT
"""How long a job takes, projected from a run: point, interval, and what the projection assumes."""
