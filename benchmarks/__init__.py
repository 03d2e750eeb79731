# SPDX-License-Identifier: MIT
"""What is claimed about speed: each a script that prints a table with the machine, and writes JSON on request."""
