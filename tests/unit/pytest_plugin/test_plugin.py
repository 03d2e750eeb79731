# SPDX-License-Identifier: MIT
"""The plugin in sessions of pytest, each in a process of its own."""

import json
import os
import re
import subprocess
import sys

import pytest

from virnuc_profiler.pytest_plugin.plugin_session import run_file_name
from virnuc_profiler.telemetry.run_result import RunResult

pytestmark = pytest.mark.slow

PLUGIN = ("-p", "virnuc_profiler.pytest_plugin.plugin", "-p", "no:cacheprovider")
EXACT = ("-p", "tests.support.exact_rounds")
XDIST = ("-p", "xdist.plugin", "-n", "2")

ONE = """
def test_one(virnuc_profiler):
    assert virnuc_profiler.repeat(lambda: 7, rounds=5) == 7
"""


@pytest.fixture
def session(pytester, monkeypatch):
    """Run pytest with the plugin in a process of its own, and check the width of what it adds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "200")  # the section keeps to 80 nevertheless
    monkeypatch.setenv("VIRNUC_PROFILER_BASELINES", str(pytester.path / "baselines"))

    def run(*options, round_ms=None, seed=1, rounds=200):
        exact = () if round_ms is None else EXACT
        monkeypatch.setenv("ROUND_MS", json.dumps(round_ms))
        monkeypatch.setenv("ROUND_SEED", str(seed))
        monkeypatch.setenv("ROUNDS", str(rounds))
        result = pytester.runpytest_subprocess(*PLUGIN, *exact, *options)
        assert all(len(line) <= 80 for line in section(result)), section(result)
        return result

    return run


def section(result):
    """The lines of the plugin's section, without its heading."""
    lines = result.outlines
    first = next((at for at, line in enumerate(lines) if "virnuc_profiler: profiled tests" in line), None)
    if first is None:
        return []
    last = next(at for at in range(first + 1, len(lines)) if lines[at].startswith("==="))
    return [line for line in lines[first + 1 : last] if line]


def test_a_run_is_stored_for_each_test_however_its_id_reads(pytester, session):
    hostile = ["../../up", "<script>alert(1)</script>", "=1+1", "\x1b[2J", "‮right", "ä" * 300, "x" * 3000, "a b", "a/b"]
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.parametrize("text", {hostile!r}, ids={hostile!r})
        def test_it(virnuc_profiler, text):
            virnuc_profiler.repeat(lambda: text, rounds=4, warmup=0)
    """)
    result = session("--virnuc-save", "runs", "--junitxml", "out.xml")
    result.assert_outcomes(passed=len(hostile))
    files = sorted((pytester.path / "runs").iterdir())
    assert len(files) == len(hostile)
    assert all(re.fullmatch(r"run_[A-Za-z0-9._-]+-[0-9a-f]{10}\.json", file.name) for file in files)
    runs = [RunResult.load(file) for file in files]
    assert [len(run.batches) for run in runs] == [4] * len(hostile)
    assert {run_file_name(run.metadata["target"]["test"]) for run in runs} == {file.name for file in files}
    assert "\x1b[2J" not in str(result.stdout)
    assert f"Stored: {len(hostile)} runs in runs" in section(result)
    assert 'name="virnuc_rounds" value="4"' in (pytester.path / "out.xml").read_text()


def test_a_slower_test_fails_with_the_sentence_and_its_interval(pytester, session):
    pytester.makepyfile(ONE + "\n" + ONE.replace("one", "two"))
    assert session("--virnuc-save", "before", round_ms=1.0).ret == 0
    again = ("--virnuc-save", "after", "--virnuc-compare", "before", "--junitxml", "out.xml")
    result = session(*again, round_ms={"test_one": 1.25, "test_two": 1.0}, seed=2)
    result.assert_outcomes(failed=1, passed=1)
    output = str(result.stdout)
    assert re.search(r"test_one: SLOWER in these two runs: steady rounds/s -20\.\d%, -20\.\d to -\d\d\.\d%", output)
    assert "Steady rounds/s" in output  # the table of compare
    assert "tokens/s" not in output
    assert "not known on both sides" not in output  # a test has no model and no sequences
    assert any(line.startswith("  SAME within 2% in these two runs: steady rounds/s") for line in section(result))
    assert len(list((pytester.path / "after").iterdir())) == 2  # that of the slower test too
    assert 'name="virnuc_verdict" value="SLOWER' in (pytester.path / "out.xml").read_text()


@pytest.mark.parametrize(
    ("round_ms", "rounds", "verdict"), [(1.0, 200, "SAME"), (0.8, 200, "FASTER"), (2.0, 20, "CANNOT TELL")]
)
def test_other_verdicts_do_not_fail(pytester, session, round_ms, rounds, verdict):
    pytester.makepyfile(ONE)
    session("--virnuc-save", "before", round_ms=1.0)
    result = session("--virnuc-compare", "before", round_ms=round_ms, rounds=rounds, seed=2)
    result.assert_outcomes(passed=1)
    assert any(line.startswith(f"  {verdict}") for line in section(result))


def test_the_threshold_decides(pytester, session):
    pytester.makepyfile(ONE)
    session("--virnuc-save", "before", round_ms=1.0)
    for threshold, passed in (("5", 0), ("40", 1)):
        result = session("--virnuc-compare", "before", "--virnuc-threshold", threshold, round_ms=1.25, seed=2)
        result.assert_outcomes(passed=passed, failed=1 - passed)


def test_subfolders_of_a_baseline_are_repeats(pytester, session):
    pytester.makepyfile(ONE)
    for number, round_ms in enumerate((1.0, 1.1, 0.95, 1.05, 1.02, 0.98)):
        session("--virnuc-save", f"main/{number}", round_ms=round_ms, seed=number)
    assert session("--virnuc-compare", "main", round_ms=1.1, seed=9).ret == 0  # one run alone would be SLOWER
    slower = session("--virnuc-compare", "main", round_ms=1.5, seed=9)
    slower.assert_outcomes(failed=1)
    assert "main (6 runs)" in str(slower.stdout)


def test_a_run_file_or_a_named_baseline(pytester, session):
    pytester.makepyfile(ONE + "\n" + ONE.replace("one", "two"))
    session("--virnuc-save", "before", round_ms=1.0)
    (file,) = (f"before/{path.name}" for path in (pytester.path / "before").glob("*test_one*"))
    command = [sys.executable, "-m", "virnuc_profiler", "baseline", "save", "main"]
    assert subprocess.run([*command, file], cwd=pytester.path, check=False).returncode == 0
    for baseline in (file, "main"):
        result = session("--virnuc-compare", baseline, round_ms=1.5, seed=2)
        result.assert_outcomes(failed=1, passed=1, warnings=1)
        assert "test_one: SLOWER" in str(result.stdout)
    refused = subprocess.run(
        [*command, "--replace", "before"], cwd=pytester.path, capture_output=True, text=True, check=False
    )
    assert "are no repeats of each other, they differ in target.test" in refused.stderr


def test_a_test_without_a_baseline_is_warned_of_and_passes(pytester, session):
    pytester.makepyfile(ONE)
    session("--virnuc-save", "before", round_ms=1.0)
    pytester.makepyfile(ONE + "\n" + ONE.replace("one", "new"))
    result = session("--virnuc-compare", "before", round_ms=1.0)
    result.assert_outcomes(passed=2, warnings=1)
    assert "before has no run of" in str(result.stdout)
    assert re.search(r"1 test has no run in before: \S+::test_new", " ".join(" ".join(section(result)).split()))


def test_a_damaged_baseline_is_named_and_fails_nothing(pytester, session):
    pytester.makepyfile(ONE)
    session("--virnuc-save", "before", round_ms=1.0)
    (file,) = (pytester.path / "before").iterdir()
    file.write_text("{")
    result = session("--virnuc-compare", "before", round_ms=1.0)
    result.assert_outcomes(passed=1, warnings=1)
    assert file.name in str(result.stdout)
    assert "1 test was not compared: " in " ".join(section(result))


def test_a_folder_may_be_compared_with_what_it_held(pytester, session):
    pytester.makepyfile(ONE)
    both = ("--virnuc-save", "runs", "--virnuc-compare", "runs")
    (pytester.path / "runs").mkdir()
    assert session(*both, round_ms=1.0).ret == 0
    session(*both, round_ms=1.5, seed=2).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--virnuc-compare", "absent"),
            "--virnuc-compare absent is no folder or file, and there is no baseline absent",
        ),
        (("--virnuc-compare", "a b"), "cannot name a baseline"),
        (("--virnuc-threshold", "80"), "--virnuc-threshold 80 is not a percentage from 0 to 50"),
        (("--virnuc-save", "file.txt"), "--virnuc-save file.txt is a file; name a folder"),
        (("--virnuc-compare", "file.txt"), "file.txt"),
    ],
)
def test_wrong_options_end_the_session_at_once(pytester, session, options, message):
    pytester.makepyfile(ONE)
    (pytester.path / "file.txt").write_text("text")
    result = session(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in str(result.stderr)


def test_a_run_that_cannot_be_stored_fails_with_one_sentence(pytester, session):
    pytester.makepyfile(ONE)
    (pytester.path / "file").write_text("")
    result = session("--virnuc-save", "file/runs")
    result.assert_outcomes(failed=1)
    assert "cannot" in str(result.stdout)
    assert "Traceback" not in str(result.stdout)


def test_a_loop_is_profiled_with_its_stages(pytester, session):
    pytester.makepyfile("""
        def test_loop(virnuc_profiler):
            with virnuc_profiler.loop(stages=("fetch", "forward")) as profiler:
                for number in profiler.batches(range(6)):
                    with profiler.stage("forward"):
                        number + 1
            assert len(virnuc_profiler.result.batches) == 6

        def test_open_loop(virnuc_profiler):
            profiler = virnuc_profiler.loop()
            profiler.start()
            with profiler.begin_batch():
                pass

        def test_no_loop(virnuc_profiler):
            virnuc_profiler.loop()
    """)
    result = session("--virnuc-save", "runs")
    result.assert_outcomes(passed=3)
    runs = {
        run.metadata["target"]["test"].rpartition("::")[2]: run
        for run in map(RunResult.load, (pytester.path / "runs").iterdir())
    }
    assert {name: len(run.batches) for name, run in runs.items()} == {"test_loop": 6, "test_open_loop": 1}
    assert runs["test_loop"].stage_names == ("fetch", "forward")


def test_lengths_give_rates_in_tokens(pytester, session):
    pytester.makepyfile("""
        def test_it(virnuc_profiler):
            virnuc_profiler.repeat(lambda: None, rounds=5, lengths=[100, 50])
    """)
    result = session("--virnuc-save", "runs")
    (file,) = (pytester.path / "runs").iterdir()
    assert {batch.packing.tokens for batch in RunResult.load(file).batches} == {150}
    assert "tokens/s" in section(result)[1]


def test_a_test_that_fails_or_errs_is_not_stored_and_its_run_ends(pytester, session):
    pytester.makepyfile("""
        import pytest

        def test_fails(virnuc_profiler):
            calls = virnuc_profiler.wrap(int)
            calls()
            assert False

        def test_raises_inside(virnuc_profiler):
            virnuc_profiler(lambda: 1 / 0)

        def test_skips(virnuc_profiler):
            virnuc_profiler.wrap(int)()
            pytest.skip("no GPU")

        def test_twice(virnuc_profiler):
            virnuc_profiler.repeat(int, rounds=2)
            with pytest.raises(Exception, match="is profiled twice; a test stores one run"):
                virnuc_profiler.repeat(int, rounds=2)

        def test_nothing(virnuc_profiler):
            with pytest.raises(RuntimeError, match="has profiled nothing"):
                virnuc_profiler.result
    """)
    result = session("--virnuc-save", "runs")
    result.assert_outcomes(failed=2, passed=2, skipped=1)
    assert len(list((pytester.path / "runs").iterdir())) == 1


def test_workers_of_xdist_store_and_compare_too(pytester, session):
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_it(virnuc_profiler, number):
            virnuc_profiler.repeat(int, rounds=3)
    """)
    names = [f"test_it[{number}]" for number in range(6)]
    session(*XDIST, "--virnuc-save", "before", round_ms=1.0).assert_outcomes(passed=6)
    assert len(list((pytester.path / "before").iterdir())) == 6
    times = {name: 1.5 if number == 4 else 1.0 for number, name in enumerate(names)}
    result = session(*XDIST, "--virnuc-compare", "before", "--junitxml", "out.xml", round_ms=times, seed=2)
    result.assert_outcomes(passed=5, failed=1)
    assert sum("rounds/s" in line and " | " in line for line in section(result)) == 6
    assert "2 processes ran tests at the same time" in " ".join(section(result))
    assert (pytester.path / "out.xml").read_text().count('name="virnuc_verdict"') == 6


def test_inside_the_rounds_of_pytest_benchmark(pytester, session):
    pytest.importorskip("pytest_benchmark")
    pytester.makepyfile("""
        import time

        def test_both(virnuc_profiler, benchmark):
            assert benchmark(virnuc_profiler.wrap(lambda ms: time.sleep(ms / 1000) or ms), 2) == 2

        def test_many_iterations(virnuc_profiler, benchmark):
            benchmark.pedantic(virnuc_profiler.wrap(int), rounds=7, iterations=11, warmup_rounds=2)

        def test_benchmark_alone(benchmark):
            benchmark.pedantic(int, rounds=3)

        def test_profile_alone(virnuc_profiler):
            virnuc_profiler.repeat(int, rounds=5)
    """)
    options = ("-p", "pytest_benchmark.plugin", "--benchmark-max-time", "0.2", "--benchmark-json", "bench.json")
    result = session(*options, "--virnuc-save", "runs")
    result.assert_outcomes(passed=4)
    stats = {one["name"]: one["stats"] for one in json.loads((pytester.path / "bench.json").read_text())["benchmarks"]}
    recorded = {
        run.metadata["target"]["test"].rpartition("::")[2]: run
        for run in map(RunResult.load, (pytester.path / "runs").iterdir())
    }
    assert len(recorded["test_many_iterations"].batches) == 1 + 9 * 11  # one for the result
    assert len(recorded["test_profile_alone"].batches) == 5
    both = stats["test_both"]
    assert both["iterations"] == 1  # calibrated on calls of 2 ms and more
    assert len(recorded["test_both"].batches) >= both["rounds"]
    spent = sum(batch.host_end_ns - batch.host_start_ns for batch in recorded["test_both"].batches) / 1e9
    assert spent <= 1.1 * (both["total"] + 0.2 + both["max"])  # its rounds, and the calibration before them


def test_only_the_first_calls_are_recorded_so_that_files_stay_small(pytester, session):
    pytester.makepyfile("""
        from virnuc_profiler.pytest_plugin import profiled_test

        def test_many(virnuc_profiler, monkeypatch):
            monkeypatch.setattr(profiled_test, "MAX_ROUNDS", 50)
            calls = virnuc_profiler.wrap(lambda number: number)
            assert [calls(number) for number in range(80)] == list(range(80))
    """)
    session("--virnuc-save", "runs").assert_outcomes(passed=1)
    (file,) = (pytester.path / "runs").iterdir()
    assert len(RunResult.load(file).batches) == 50


def test_a_session_that_does_not_use_it_imports_nothing(pytester, session):
    pytester.makepyfile("""
        import sys

        def test_it():
            ours = {name for name in sys.modules if name.startswith("virnuc_profiler")}
            assert ours == {"virnuc_profiler", "virnuc_profiler.pytest_plugin", "virnuc_profiler.pytest_plugin.plugin"}
            assert not {"numpy", "torch", "scipy"} & sys.modules.keys()
    """)
    result = session()
    result.assert_outcomes(passed=1)
    assert section(result) == []


def test_profiling_a_test_imports_no_torch(pytester, session):
    pytester.makepyfile(ONE + "    import sys\n    assert 'torch' not in sys.modules\n")
    session("--virnuc-save", "before").assert_outcomes(passed=1)
    session("--virnuc-compare", "before").assert_outcomes(passed=1)


def test_it_can_be_left_out(pytester, monkeypatch):
    """As an installed package has it: by an entry point."""
    info = pytester.path / "installed" / "virnuc_plugin-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: virnuc_plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest11]\nvirnuc_profiler = virnuc_profiler.pytest_plugin.plugin\n")
    monkeypatch.setenv("PYTHONPATH", f"{info.parent}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    pytester.makepyfile(ONE)
    options = ("-p", "no:cacheprovider", "-p", "no:xdist")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)
    without = pytester.runpytest_subprocess(*options, "-p", "no:virnuc_profiler")
    without.assert_outcomes(errors=1)
    without.stdout.fnmatch_lines(["*fixture 'virnuc_profiler' not found*"])
