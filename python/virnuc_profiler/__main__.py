# SPDX-License-Identifier: MIT
"""``python -m virnuc_profiler``."""

import sys

from virnuc_profiler.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
