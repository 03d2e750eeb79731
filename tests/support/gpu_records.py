# SPDX-License-Identifier: MIT
"""Captures made by hand from records, for what works on columns."""

from virnuc_profiler.analysis.nsys.gpu_capture import Calls, Operations, Ranges
from virnuc_profiler.analysis.nsys.projection import project


def project_records(ranges, calls, operations):
    """Project ranges onto operations, all given as records."""
    return project(Ranges.from_records(ranges), Calls.from_records(calls), Operations.from_records(operations))
