# SPDX-License-Identifier: MIT
"""``python -m virnuc_profiler``."""

import sys

try:
    from virnuc_profiler.cli.main import main
except KeyboardInterrupt:
    sys.exit("virnuc-profiler: error: stopped")
except Exception as error:
    from virnuc_profiler.import_origins import explain_hidden_modules

    explanation = explain_hidden_modules(error)
    if explanation is None:
        raise
    sys.exit(f"virnuc-profiler: error: {explanation}")

if __name__ == "__main__":
    sys.exit(main())
