# SPDX-License-Identifier: MIT
"""Checks that files end in one newline, hold no trailing spaces or merge conflicts, and are under 500 KB.

Usage: python .ci/check_text.py FILE...
"""

import re
import sys
from pathlib import Path

_MAX_BYTES = 500_000
_CONFLICT = re.compile(rb"^(<{7} |>{7} |={7}$)", re.MULTILINE)


def main() -> int:
    """Print what is wrong with each file and return the exit code."""
    faults = [f"{name}: {fault}" for name in sys.argv[1:] for fault in _faults(Path(name).read_bytes())]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


def _faults(content: bytes) -> list[str]:
    faults = [f"has {len(content):,} bytes, at most {_MAX_BYTES:,} belong here"] if len(content) > _MAX_BYTES else []
    if not content or b"\0" in content:
        return faults
    if _CONFLICT.search(content):
        faults.append("has markers of a merge conflict")
    if re.search(rb"[ \t]+$", content, re.MULTILINE):
        faults.append("has trailing spaces")
    if not content.endswith(b"\n") or content.endswith(b"\n\n"):
        faults.append("does not end in one newline")
    return faults


if __name__ == "__main__":
    sys.exit(main())
