# SPDX-License-Identifier: MIT
"""The compiled FASTA index and residue encoder under libFuzzer, with sanitizers; needs clang.

The seeds are those of the FASTA target: their first byte is here the longest sequence that is encoded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.engine import SEEDS

_HERE = Path(__file__).parent
_CORE = _HERE.parents[1] / "csrc"
_SOURCES = [_HERE / "fuzz_sequences.cpp", *sorted((_CORE / "packing").glob("[fr]*.cpp"))]
_OPTIONS = ("-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fno-sanitize-recover=all")


def main() -> int:
    """Build and run the target; return libFuzzer's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="keeps what reached new code (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program, corpus = Path(folder) / "fuzz_sequences", options.corpus or Path(folder) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CXX", "clang++")
        build = [compiler, *_OPTIONS, "-fsanitize=fuzzer,address,undefined", f"-I{_CORE}", *_SOURCES, "-o", program]
        subprocess.run([str(part) for part in build], check=True)
        limits = ["-timeout=10", "-malloc_limit_mb=64", "-max_len=8192", f"-artifact_prefix={corpus}/"]
        command = [
            program,
            corpus,
            SEEDS / "fasta",
            f"-max_total_time={options.seconds}",
            "-print_final_stats=1",
            *limits,
        ]
        return subprocess.run([str(part) for part in command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
