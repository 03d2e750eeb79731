# SPDX-License-Identifier: MIT
"""Fuzzing of everything that reads a file; ``docs/fuzzing.md`` says how it is run."""
