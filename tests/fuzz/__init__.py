# SPDX-License-Identifier: MIT
"""Fuzzing of everything that reads a file; ``docs/develop.md`` says how it is run."""
