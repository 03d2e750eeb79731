# SPDX-License-Identifier: MIT
"""What a command shows while it runs: live views on terminals, lines in logs, and metrics in files."""
