# SPDX-License-Identifier: MIT
"""A stand-in for ``nsys``: runs the program it is given, and exports a capture made of the run that this left.

The environment says how it fails: ``FAKE_NSYS_FAILS`` is ``import``, ``export`` or empty.
"""

import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from tests.support.nsys_files import write_capture_of
from virnuc_profiler.telemetry.run_result import RunResult

FAILS = os.environ.get("FAKE_NSYS_FAILS", "")


def value_of(option, argv):
    return Path(argv[argv.index(option) + 1])


def profile(argv):
    """Runs what follows the last option of its own, which is the interpreter."""
    signal.signal(signal.SIGINT, lambda *_: None)  # it goes to the program too, which ends
    report = value_of("-o", argv)
    code = subprocess.run(argv[argv.index(sys.executable) :], check=False).returncode
    report.with_name(report.name + (".qdstrm" if FAILS == "import" else ".nsys-rep")).write_text(" ".join(argv))
    return code


def export(argv):
    if FAILS == "export":
        print("Exportation error: out of luck", file=sys.stderr)
        return 1
    report = Path(argv[-1])
    run = RunResult.load(report.with_name(report.stem.replace("nsys_", "run_", 1) + ".json"))
    started = datetime.fromisoformat(run.started_at)
    epoch_ns = round(started.timestamp() * 1e9)
    write_capture_of(run, value_of("-o", argv), offset_ns=-run.host_start_ns, utc_epoch_ns=epoch_ns)
    return 0


if __name__ == "__main__":
    sys.exit({"profile": profile, "export": export}[sys.argv[1]](sys.argv[2:]))
