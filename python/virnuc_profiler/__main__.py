# SPDX-License-Identifier: MIT
"""``python -m virnuc_profiler``."""

import sys

try:
    from virnuc_profiler.cli.main import main
except KeyboardInterrupt:
    sys.exit("virnuc-profiler: error: stopped")

if __name__ == "__main__":
    sys.exit(main())
