# SPDX-License-Identifier: MIT
"""How much of the package one FASTA record crosses, from its file to the telemetry file.

The script runs `run_single_gpu_benchmark` on the CPU with one record and without workers, and counts the Python
functions of this package that `sys.setprofile` and `threading.setprofile` report:

- functions: distinct functions entered, by file, line and name. Lambdas and generators count, and up to Python 3.11
  comprehensions do. Module bodies (imports), class bodies and functions that `dataclass` generates do not.
- files: distinct source files of those functions.
- room changes: pairs of consecutive calls of one thread whose functions lie in different rooms. A room is the first
  folder or module below the package (`inference`, `sweep`, `errors`); with `--depth 2` it is the subpackage
  (`inference/packing`). Resuming a generator is a call; returning is not.

Loading the model (8M, random weights) and a first run, which imports and compiles, lie outside the path. The script
needs only public names of the package, so it can compare two versions: set PYTHONPATH to the one to trace.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import virnuc_profiler
from virnuc_profiler import load_esm2_model, run_single_gpu_benchmark

PACKAGE = Path(virnuc_profiler.__file__).resolve().parent
RECORD = ">record_1\nMKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQ\n"
_CO_NEWLOCALS = 2  # of functions; the code of a module or class body lacks it

Function = tuple[str, int, str]
"""File below the package, first line, qualified name."""


@dataclass
class Trace:
    """Functions of the package in the order in which each thread entered them.

    Attributes:
        calls: Entered functions, by thread identifier.
    """

    calls: dict[int, list[Function]] = field(default_factory=dict)
    _started: set[int] = field(default_factory=set)

    def profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Record a call; the callback that `sys.setprofile` expects."""
        code = frame.f_code
        if event != "call" or not code.co_flags & _CO_NEWLOCALS or not code.co_filename.startswith(f"{PACKAGE}/"):
            return
        file = Path(code.co_filename).relative_to(PACKAGE).as_posix()
        name = getattr(code, "co_qualname", code.co_name)  # from Python 3.11 on
        self.calls.setdefault(threading.get_ident(), []).append((file, code.co_firstlineno, name))

    def functions(self) -> Counter[Function]:
        """Calls of each function."""
        return Counter(call for calls in self.calls.values() for call in calls)

    def files(self) -> Counter[str]:
        """Distinct functions entered in each file."""
        return Counter(file for file, _, _ in self.functions())

    def room_changes(self, depth: int) -> Counter[str]:
        """Changes from one room to another, as ``from -> to``.

        Args:
            depth: Number of path components that name a room.
        """
        changes: Counter[str] = Counter()
        for calls in self.calls.values():
            rooms = [room(file, depth) for file, _, _ in calls]
            changes.update(f"{before} -> {after}" for before, after in pairwise(rooms) if before != after)
        return changes


def room(file: str, depth: int) -> str:
    """Name the room of a file: its first `depth` path components, without the file's own if it lies deeper."""
    parts = Path(file).with_suffix("").parts
    return "/".join(parts[: min(depth, max(1, len(parts) - 1))])


@contextmanager
def tracing() -> Iterator[Trace]:
    """Trace all threads that start inside the context, and the current one."""
    trace = Trace()
    threading.setprofile(trace.profile)
    sys.setprofile(trace.profile)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def trace_one_record() -> Trace:
    """Run one record through a small model, twice, and trace the second run."""
    model, _ = load_esm2_model("8M", "cpu", weights="random")
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder, "one.fasta")
        fasta.write_text(RECORD, encoding="utf-8")
        run(model, fasta, Path(folder, "warm_up"))
        with tracing() as trace:
            result = run(model, fasta, Path(folder, "traced"))
        if result["status"] != "success":
            raise SystemExit(f"the traced run failed: {result['message']}")
    return trace


def run(model: Any, fasta: Path, output_dir: Path) -> dict[str, Any]:
    """Measure one configuration on the CPU in this process."""
    return run_single_gpu_benchmark(fasta, output_dir, model, "cpu", num_workers=0, cooldown_s=0)


def print_ranking(title: str, counts: Mapping[Any, int], rows: int) -> None:
    """Print the largest counts."""
    print(f"\n{title}")
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:rows]:
        print(f"{count:6}  {name if isinstance(name, str) else '{}:{} {}'.format(*name)}")


def main() -> None:
    """Trace one record, print the counts, and rank files, functions and room changes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=1, help="folders that make a room (default: 1)")
    parser.add_argument("--top", type=int, default=20, help="rows of each ranked list (default: 20)")
    parser.add_argument("--json", type=Path, help="write all counts to this file too")
    options = parser.parse_args()
    trace = trace_one_record()
    functions, files, changes = trace.functions(), trace.files(), trace.room_changes(options.depth)
    counts = {
        "functions": len(functions),
        "files": len(files),
        "room_changes": sum(changes.values()),
        "calls": sum(functions.values()),
    }
    print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
    print_ranking("Functions entered in each file", files, options.top)
    print_ranking("Calls of each function", functions, options.top)
    print_ranking("Room changes", changes, options.top)
    if options.json is not None:
        named = {"{}:{} {}".format(*function): count for function, count in functions.items()}
        document = {**counts, "by_file": files, "by_function": named, "by_room_change": changes}
        options.json.write_text(json.dumps(document, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
