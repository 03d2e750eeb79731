# SPDX-License-Identifier: MIT
"""Two sides: what differs, what is refused, and what is said beside the verdicts."""

from dataclasses import replace

import pytest

from virnuc_profiler.analysis.comparison.effects import Rule
from virnuc_profiler.analysis.comparison.measured_run import MeasuredRun, Side
from virnuc_profiler.analysis.comparison.sides import (
    BETWEEN_SWEEPS,
    ONE_AGAINST_REPEATS,
    ONE_RUN_EACH,
    compare_sides,
    require_usable,
)
from virnuc_profiler.errors import UsageError

FACTS = {
    "device.kind": "GPU",
    "device.name": "NVIDIA H200",
    "model.model_name": "esm2_t6_8M_UR50D",
    "model.precision": "fp16",
    "workload.fingerprint": "sha256:aa",
    "workload.num_sequences": 2000,
    "workload.sampling": "first",
    "versions.torch": "2.11.0",
    "clocks.sm_mhz": 1980,
}
CONFIGURATION = {"num_workers": 4, "token_budget": 4096}


def run(rate=1000.0, source="run_a.json", configuration=CONFIGURATION, failure=None, warnings=(), **facts):
    named = {name.replace("__", "."): value for name, value in facts.items()}
    return MeasuredRun(
        source=source,
        configuration=configuration,
        facts={name: value for name, value in {**FACTS, **named}.items() if value is not None},
        values={} if failure else {"tokens_per_sec": rate},
        failure=failure,
        warnings=warnings,
    )


def side(*runs, name="a", is_sweep=False, recommended=None):
    return Side(name=name, runs=runs, is_sweep=is_sweep, recommended=recommended)


def compare(before, after, **options):
    return compare_sides(before, after, Rule(), **options)


def refused(before, after):
    with pytest.raises(UsageError) as caught:
        compare(before, after)
    assert "--anyway" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("device__kind", "CPU", "the kind of device (GPU and CPU)"),
        ("device__name", "NVIDIA A100", "the device (NVIDIA H200 and NVIDIA A100)"),
        ("model__model_name", "esm2_t33_650M_UR50D", "the model (esm2_t6_8M_UR50D and esm2_t33_650M_UR50D)"),
        ("model__precision", "bf16", "the precision (fp16 and bf16)"),
        ("workload__fingerprint", "sha256:bb", "the file of sequences (sha256:aa and sha256:bb)"),
        ("workload__num_sequences", 72, "the number of sequences (2000 and 72)"),
        ("workload__sampling", "stratified", "the sampling of the file (first and stratified)"),
    ],
)
def test_what_makes_the_comparison_meaningless_is_refused_unless_it_is_wanted(fact, value, words):
    before, after = side(run()), side(run(**{fact: value}), name="b")
    assert words in refused(before, after)
    compared = compare(before, after, anyway=True)
    assert any(words in warning for warning in compared.warnings)
    assert [one.name for one in compared.differences if one.refuses] == [fact.replace("__", ".")]


def test_versions_clocks_and_configurations_may_differ_and_are_named():
    other = run(versions__torch="2.13.0", clocks__sm_mhz=1700, configuration={**CONFIGURATION, "num_workers": 8})
    compared = compare(side(run()), side(other))
    assert [(one.name, one.reference, one.candidate) for one in compared.differences] == [
        ("configuration.num_workers", (4,), (8,)),
        ("versions.torch", ("2.11.0",), ("2.13.0",)),
        ("clocks.sm_mhz", (1980,), (1700,)),
    ]
    assert not any(one.refuses for one in compared.differences)


def test_clocks_within_one_percent_are_equal():
    assert compare(side(run()), side(run(clocks__sm_mhz=1975))).differences == ()


def test_what_is_not_known_is_not_checked_and_that_is_said():
    compared = compare(side(run()), side(run(model__precision=None, workload__fingerprint=None)))
    assert "not known on both sides, so not checked: the precision, the file of sequences." in compared.warnings


def test_repeats_must_be_repeats():
    others = run(source="run_b.json", versions__torch="2.13.0")
    with pytest.raises(UsageError, match=r"run_a.json and run_b.json are no repeats.*versions.torch"):
        require_usable(side(run(), others))
    with pytest.raises(UsageError, match=r"configuration.num_workers"):
        require_usable(side(run(), run(configuration={**CONFIGURATION, "num_workers": 8})))
    require_usable(side(run(), run(clocks__sm_mhz=1900)))
    assert "no repeats" in refused(side(run(), others), side(run()))


def test_a_failed_run_is_not_compared():
    with pytest.raises(UsageError, match=r"holds no run that succeeded \(OOM\)"):
        compare(side(run()), side(run(failure="OOM")))


def test_failed_repeats_are_left_out_and_counted():
    compared = compare(side(run(), run(source="b", failure="OOM")), side(run(source="c")))
    assert compared.main_effect.reference == 1000.0
    assert "left out because they failed: 1 run of a." in compared.warnings


def test_one_run_each_says_what_it_does_not_show():
    assert compare(side(run()), side(run(source="b"))).notes == (ONE_RUN_EACH,)
    assert compare(side(run(), run()), side(run(source="b"))).notes == (ONE_AGAINST_REPEATS,)
    assert compare(side(run(), run()), side(run(source="b"), run(source="c"))).notes == ()


def test_warnings_of_the_runs_are_passed_on_and_a_run_on_both_sides_is_named():
    compared = compare(side(run(warnings=("it was stopped.",))), side(run()))
    assert compared.warnings == ("it was stopped.", "run_a.json is on both sides.")


def sweep(change=1.0, name="a", failing=(), extra=(), recommended=None):
    trials = [
        run(
            1000.0 * (1 + workers) * change * (1 + 0.001 * (workers % 3)),
            f"{name}: {workers}",
            {"num_workers": workers},
            failure="OOM" if workers in failing else None,
        )
        for workers in (*range(8), *extra)
    ]
    return side(*trials, name=name, is_sweep=True, recommended=recommended)


def test_sweeps_are_compared_on_the_configurations_that_both_have():
    compared = compare(sweep(extra=(20,)), sweep(0.9, name="b", extra=(30,)))
    assert compared.main_effect.verdict == "SLOWER"
    assert compared.is_slower
    assert compared.is_worse
    assert [configuration["num_workers"] for configuration, _ in compared.configurations] == list(range(8))
    assert compared.notes == (BETWEEN_SWEEPS,)
    assert compare(sweep(), sweep(name="b")).main_effect.verdict == "SAME"


def test_what_fails_in_the_candidate_only_is_worse():
    compared = compare(sweep(), sweep(name="b", failing=(3,)))
    assert [(one.configuration, one.in_candidate, one.reason) for one in compared.failures] == [
        ({"num_workers": 3}, True, "OOM")
    ]
    assert compared.is_worse
    assert not compared.is_slower
    assert not compare(sweep(failing=(3,)), sweep(name="b")).is_worse


def test_both_recommendations_are_compared():
    before, after = sweep(recommended={"num_workers": 1}), sweep(name="b", recommended={"num_workers": 7})
    compared = compare(before, after)
    assert compared.recommended.ratio == pytest.approx(8 / 2, rel=0.01)
    assert (compared.recommended.verdict, compared.recommended.reason) == ("CANNOT TELL", "single trial")
    repeated = [replace(one, runs=one.runs * 2) for one in (before, after)]
    assert compare(*repeated).recommended.verdict == "FASTER"
    assert compare(sweep(), sweep(name="b", recommended={"num_workers": 7})).recommended is None


def test_a_run_is_compared_with_the_trials_of_its_configuration():
    compared = compare(sweep(), side(run(5000.0, configuration={"num_workers": 4})))
    assert compared.main_effect.reference == pytest.approx(5005.0)
    with pytest.raises(UsageError, match="without a trial of the configuration of a: num_workers=99"):
        compare(sweep(), side(run(configuration={"num_workers": 99})))


def test_sweeps_without_a_common_configuration_are_refused():
    with pytest.raises(UsageError, match="no configuration in common"):
        compare(sweep(), side(run(configuration={"num_workers": 99}), is_sweep=True, name="b"))


def test_a_side_survives_json():
    kept = sweep(recommended={"num_workers": 3}, failing=(2,))
    assert Side.from_json(kept.to_json()) == kept
    newer = {**kept.to_json(), "of_a_later_version": 1}
    newer["runs"][0]["values"]["of_a_later_version"] = 2
    assert Side.from_json(newer) == replace(kept)
