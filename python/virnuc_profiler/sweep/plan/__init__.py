# SPDX-License-Identifier: MIT
"""What a sweep measures: knobs, steps, workload and conditions."""
