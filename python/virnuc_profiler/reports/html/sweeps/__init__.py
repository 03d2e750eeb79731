# SPDX-License-Identifier: MIT
"""The parts of the page of a sweep: the answer, heat maps, charts and tables."""
