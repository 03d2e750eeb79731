# SPDX-License-Identifier: MIT
"""Run a target on mutated seeds, guided by coverage if atheris is installed."""

import argparse
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

SEEDS = Path(__file__).with_name("seeds")
_IN_MEMORY = Path("/dev/shm")
_MAX_MESSAGE = 2000
_SPARE_BYTES = 16 << 20
"""Memory that any call may take: caches, late imports, the text of a report, and Python's table of interned strings,
which may grow by some megabytes."""

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        name: of its folder of seeds.
        check: reads one input, and raises if a promise is broken.
        mutate: changes the form of an input rather than its bytes, so that more of them get past the first check.
        factor: most bytes of memory that a byte of input may cost.
        largest: most bytes of an input.
    """

    name: str
    check: Callable[[bytes], None]
    mutate: Mutation
    factor: int
    largest: int = 1 << 16

    def seeds(self) -> list[Path]:
        return sorted((SEEDS / self.name).iterdir())


def instrumented() -> AbstractContextManager[None]:
    """Instrument a target's imports for coverage, unless a test only replays the seeds."""
    fuzzing = any(word.startswith("tests.fuzz.") for word in sys.orig_argv)
    return atheris.instrument_imports(include=["virnuc_profiler"]) if fuzzing and atheris else nullcontext()


def check_within_bounds(target: Target, data: bytes) -> None:
    """Check one input, and that its memory is proportional to it; ``tracemalloc`` must have been started."""
    tracemalloc.clear_traces()
    target.check(data)
    _, peak = tracemalloc.get_traced_memory()
    limit = _SPARE_BYTES + target.factor * len(data)
    assert peak <= limit, f"{len(data):,} bytes took {peak:,} bytes of memory, more than {limit:,}"


def require_sentence(error: Exception) -> None:
    """Check that the text of an error is one short sentence of printable characters."""
    text = str(error)
    assert text.isprintable(), repr(text)
    assert 0 < len(text) <= _MAX_MESSAGE, f"a message of {len(text):,} characters"


def require_printable(text: str) -> None:
    """Check that a report contains no control characters."""
    for line in text.split("\n"):
        assert line.isprintable(), repr(line)


def fuzz(target: Target) -> None:
    """Fuzz a target until it is interrupted; the ``main`` of its module."""
    parser = argparse.ArgumentParser(description=f"Fuzzes {target.name}; a broken promise ends it with a traceback.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="keeps what reached new code (default: a temporary folder)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    options = parser.parse_args()
    if _IN_MEMORY.is_dir():
        tempfile.tempdir = str(_IN_MEMORY)
    for seed in target.seeds():
        target.check(seed.read_bytes())  # triggers late imports
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        corpus = options.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        (_fuzz_guided if atheris else _fuzz_blindly)(target, corpus, options.seconds, options.seed)


def _fuzz_guided(target: Target, corpus: Path, seconds: int, seed: int) -> None:
    def mutate(data: bytes, largest: int, number: int) -> bytes:
        source = random.Random(number)
        changed = target.mutate(data, source) if source.random() < 0.7 else atheris.Mutate(data, len(data) or 1)
        return changed[:largest]

    arguments = [sys.argv[0], str(corpus), str(SEEDS / target.name)]
    arguments += [f"-max_total_time={seconds}", f"-max_len={target.largest}", f"-seed={seed}", "-timeout=20"]
    arguments += ["-rss_limit_mb=3000", f"-artifact_prefix={corpus}/", "-print_final_stats=1"]
    atheris.Setup(arguments, lambda data: check_within_bounds(target, data), custom_mutator=mutate)
    atheris.Fuzz()


def _fuzz_blindly(target: Target, corpus: Path, seconds: int, seed: int) -> None:
    count, end = 0, time.monotonic() + seconds
    for data in _mutants(target, random.Random(seed)):
        (corpus / "last").write_bytes(data)
        check_within_bounds(target, data)
        count += 1
        if time.monotonic() > end:
            break
    print(f"{count:,} inputs without a broken promise")


def _mutants(target: Target, source: random.Random) -> Iterator[bytes]:
    seeds = [path.read_bytes() for path in target.seeds()]
    while True:
        data = source.choice(seeds)
        for _ in range(source.randint(1, 8)):
            change = target.mutate if source.random() < 0.7 else mutate_bytes
            data = change(data, source)[: target.largest]
        yield data


def mutate_bytes(data: bytes, source: random.Random) -> bytes:
    """Change, remove, repeat or add a few bytes."""
    start = source.randint(0, len(data))
    end = min(len(data), start + source.choice([0, 1, 1, 2, 8, 64, 512]))
    new = source.choice([b"", source.randbytes(end - start), data[start:end] * 2, source.randbytes(1), b"\0", b"\xff"])
    return data[:start] + new + data[end:]
