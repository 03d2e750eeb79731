"""Fails the build with one sentence where the built module cannot be imported and used.

Usage: python check_module.py MODULE COMPILER
"""

import importlib.util
import signal
import subprocess
import sys

# The loader joins some symbols of all C++ libraries in a process (STB_GNU_UNIQUE), such as the indices of locale
# facets. So the machine's C++ library first hands out its indices, as it does beside PyTorch; a module that shares them
# while it carries another C++ library then fails. The last lines let a C++ exception through.
_USE = """
import ctypes, sys
try:
    ctypes.CDLL("libstdc++.so.6")._ZNSt6localeC1Ev(ctypes.create_string_buffer(64))  # std::locale::locale()
except OSError:
    pass  # this machine has no libstdc++
import numpy
import importlib.util
spec = importlib.util.spec_from_file_location("_core", sys.argv[1])
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
try:
    core.index_fasta(b"")
except core.FastaFormatError:
    sys.exit(0)
sys.exit("a C++ exception did not become a Python one")
"""


def main() -> int:
    """Import the module in a new process and return the exit code of the build step."""
    module, compiler = sys.argv[1:]
    if importlib.util.find_spec("numpy") is None:
        print("-- The built module was not imported: this Python has no NumPy")
        return 0
    done = subprocess.run([sys.executable, "-c", _USE, module], capture_output=True, text=True)
    if done.returncode:
        print(f"error: {_sentence(module, compiler, done)}", file=sys.stderr)
        return 1
    print("-- The built module imports beside NumPy")
    return 0


def _sentence(module: str, compiler: str, done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode < 0:
        end = f"dies of {signal.Signals(-done.returncode).name}"
    else:
        end = f"fails with {done.stderr.strip().splitlines()[-1]!r}"
    return (
        f"the module that {compiler} has built ({module}) {end} when it is imported beside NumPy; "
        "name another compiler, such as CXX=/usr/bin/g++ pip install ."
    )


if __name__ == "__main__":
    sys.exit(main())
