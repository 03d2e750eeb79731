# SPDX-License-Identifier: MIT
"""The parts of a sweep's tables: columns, notes, verdicts, and the confirmation."""
