# SPDX-License-Identifier: MIT
"""Plugin for pytest: profiles benchmark tests, stores their runs, and fails those that became slower."""
