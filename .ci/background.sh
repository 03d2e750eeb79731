#!/usr/bin/env bash
# Runs the jobs that need no README, one after another, in an environment of their own below $WORK.
# Prints the log of each as a block, those of failing jobs again at the end, and fails if one has failed.
set -uo pipefail
cd "$(dirname "$0")/.."
renice -n 10 $$ >/dev/null
export PATH="$WORK/tools/bin:$PATH"

tools() {
    python3 -m venv "$WORK/tools"
    pip install -q --upgrade pip
    pip install -q torch==2.13.0
    pip install -q --group lint --group build --group test --group wheel --group examples --group interpreter --group launchers --group docs
}

wheel() {
    python -m build --no-isolation -o "$WORK/dist" . >"$WORK/build.log" || { cat "$WORK/build.log"; false; }
    python .ci/check_distributions.py "$WORK/dist"
    auditwheel repair -w "$WORK/repaired" "$WORK"/dist/*.whl
    auditwheel show "$WORK"/repaired/*.whl
    if python -m zipfile -l "$WORK"/repaired/*.whl | grep -F .libs/; then false; fi  # carries no system library
    pip install -q "$WORK"/repaired/*.whl
}

# The wheel must need no compiler: this environment has Python's programs on its PATH and nothing else.
no_compiler() {
    python3 -m venv "$WORK/bare"
    local PATH="$WORK/bare/bin"
    if command -v cc c++ gcc g++ clang cmake; then false; fi
    pip install -q --no-deps "$WORK"/repaired/*.whl numpy psutil  # the command line needs no more to start
    python -c "import numpy, virnuc_profiler._core as core; print(core.build_info())"
    virnuc-profiler --version
    [[ $(virnuc-profiler --version) == *"commit $commit"* ]]
}

# Another Python than that of the other jobs: builds for it, and runs the fast tests of all that works without PyTorch, of
# which PyPI has no build for the CPU alone. A Python that this machine lacks is skipped.
other_python() {
    local python dependencies
    python=$(.ci/find_python "$1") || return 0
    dependencies=$(python -c 'import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*(name for name in project["dependencies"] if not name.startswith("torch")))')
    "$python" -m venv "$WORK/python$1"
    local PATH="$WORK/python$1/bin:$PATH"
    pip install -q --upgrade pip
    # shellcheck disable=SC2086
    pip install -q --group test --group build $dependencies
    pip install -q --no-build-isolation --no-deps .
    virnuc-profiler --version
    python -m pytest -q -m "not slow" -n 0 tests/unit/{analysis,capture,cli,core,reports,telemetry} tests/unit/test_import*.py
}

lint() {
    ruff check .
    ruff format --check .
    mypy
    python -m mypy.stubtest virnuc_profiler._core --allowlist tests/stubtest_allowlist.txt
    PYTHONPATH=python lint-imports
    git ls-files '*.cpp' '*.h' | xargs clang-format --dry-run --Werror
}

# The site of the documentation. It takes the core from its stub, so that it builds from the sources alone.
site() {
    PYTHONPATH=python sphinx-build -q -W --keep-going docs "$WORK/site"
}

sanitizer() {
    cmake --preset "$1" >/dev/null
    cmake --build --preset "$1"
    ctest --preset "$1"
}

# Tests that skip themselves in README's environment, for want of a package that users need not have.
optional_packages() {
    grep -rlE 'importorskip\("(triton|transformers|mypy|ray|submitit|virnuc_profiler)' tests --include='test_*.py' |
        xargs python -m pytest -q tests/integration/test_benchmark_scripts.py::test_throughput
}

# A target of one's own in a folder of its own, with the repaired wheel; a skip would mean that it was not used.
own_target() {
    python -m pytest -q -n 0 tests/integration/test_own_target.py | tee "$WORK/own-target.txt"
    if grep -F skipped "$WORK/own-target.txt"; then false; fi
}

# The pytest plugin in a project of its own, in an environment that has the wheel but neither the repository nor PyTorch.
foreign_project() {
    python3 -m venv "$WORK/foreign"
    "$WORK/foreign/bin/pip" install -q --no-deps "$WORK"/repaired/*.whl
    "$WORK/foreign/bin/pip" install -q jsonschema numpy nvidia-ml-py nvtx psutil pytest pytest-benchmark pytest-xdist scipy
    VIRNUC_FOREIGN_PYTHON="$WORK/foreign/bin/python" python -m pytest -q -n 0 tests/integration/test_foreign_project.py |
        tee "$WORK/foreign-project.txt"
    if grep -F skipped "$WORK/foreign-project.txt"; then false; fi
    pip install -q --no-deps --target "$WORK/pytest-benchmark" pytest-benchmark py-cpuinfo  # not for the other tests
    PYTHONPATH="$WORK/pytest-benchmark" python -m pytest -q -n 0 tests/unit/pytest_plugin -k benchmark
}

failed=()
job() {
    local start=$SECONDS log="$WORK/$1.log" verdict=ok
    (set -e; "${@:2}") >"$log" 2>&1 &  # in the background, since bash ignores set -e to the left of ||
    wait $! || { verdict=FAILED; failed+=("$1"); }
    printf '\n== %s: %s (%ss)\n' "$1" "$verdict" "$((SECONDS - start))"
    cat "$log"
}

commit=$(git rev-parse --short=12 HEAD)
job tools tools
job wheel wheel
job no-compiler no_compiler
job lint lint
job site site
job asan sanitizer asan
job tsan sanitizer tsan
job optional-packages optional_packages
job own-target own_target
job foreign-project foreign_project
job oldest-python other_python 3.10
job newest-python other_python 3.13

for name in ${failed[@]+"${failed[@]}"}; do printf '\n== log of %s, which FAILED\n' "$name"; tail -n 60 "$WORK/$name.log"; done
[ "${#failed[@]}" -eq 0 ]
