# SPDX-License-Identifier: MIT
"""Checks that the source distribution and the wheel hold what they should and nothing else.

Usage: python .ci/check_distributions.py FOLDER, in a checkout. The folder holds one of each.
"""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

_PACKAGE = "python/virnuc_profiler/"
_DIST_INFO = {f"dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}


def main() -> int:
    """Compare both files with the tracked files, print what differs, and return the exit code."""
    folder = Path(sys.argv[1])
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    public = {name for name in tracked if not any(part.startswith(".") for part in name.split("/"))}
    with tarfile.open(sdist) as archive:
        in_sdist = {entry.name.split("/", 1)[1] for entry in archive if entry.isfile()}
    differences = _compare(sdist, in_sdist, public | {"PKG-INFO", "commit.txt"})

    modules = {name.removeprefix("python/") for name in public if name.startswith(_PACKAGE)}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {re.sub(r"^virnuc_profiler-[^/]*\.dist-info/", "dist-info/", name) for name in archive.namelist()}
        [core] = [name for name in in_wheel if re.fullmatch(r"virnuc_profiler/_core\.[^/]*so", name)] or [""]
    differences += _compare(wheel, in_wheel, modules | {core or "virnuc_profiler/_core*.so"} | _DIST_INFO)
    print("\n".join(differences) or f"{sdist.name}: {len(in_sdist)} files, {wheel.name}: {len(in_wheel)}, as expected")
    return 1 if differences else 0


def _compare(path: Path, found: set[str], expected: set[str]) -> list[str]:
    lines = [f"{path.name} lacks {name}" for name in sorted(expected - found)]
    return lines + [f"{path.name} holds {name}, which does not belong there" for name in sorted(found - expected)]


if __name__ == "__main__":
    sys.exit(main())
