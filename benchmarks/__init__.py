# SPDX-License-Identifier: MIT
"""Benchmarks behind the published speed figures. Each script prints a table with the machine, and JSON on request."""
