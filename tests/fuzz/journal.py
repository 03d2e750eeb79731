# SPDX-License-Identifier: MIT
"""Fuzz a sweep's journal: intact lines are used, and others are refused in a sentence."""

from tests.fuzz.checked_lines import lines_target
from tests.fuzz.engine import fuzz, instrumented

with instrumented():
    from virnuc_profiler.errors import TelemetryFormatError
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE, read_journal

TARGET = lines_target("journal", read_journal, (TelemetryFormatError,), JOURNAL_FILE)

if __name__ == "__main__":
    fuzz(TARGET)
