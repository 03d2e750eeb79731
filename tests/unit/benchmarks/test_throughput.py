# SPDX-License-Identifier: MIT
"""The figures and verdicts behind what is claimed about throughput, and the batches that they are measured on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.fp8_agreement import compare
from benchmarks.padded_baselines import fair_esm_launch, padded_batches
from benchmarks.passes import Load, Passes, evenly_spread
from benchmarks.throughput_claims import compare_fp8, judge, judge_fp8
from benchmarks.throughput_figures import HEADER, Figure, Table, Turn

from tests.support.packed import TINY, fair_esm_model, mean_over_residues, padded_oracle, proteins
from virnuc_profiler.inference.sequences.alphabet import residue_alphabet


def figure(role: str, rate: float, token_budget: int | None = None, busy: float | None = None) -> Figure:
    """An alternative with two turns, at half and at one and a half times the rate."""
    turns = [Turn(1.0, round(part * rate), part * 1e12, 1500, 650, busy, rate / 2) for part in (0.5, 1.5)]
    return Figure(role, f"({role})", "", token_budget, tuple(turns))


def table(*figures: Figure, model: str = "3B", workload: str = "sweep") -> Table:
    return Table(model, workload, figures)


GOOD = (
    figure("ceiling", 0),
    figure("a", 40_000),
    figure("b", 50_000),
    figure("c", 99_000, 4096),
    figure("c", 110_000, 16384),
    figure("d defaults", 98_000, 4096, busy=0.99),
    figure("d best", 108_000, 16384, busy=0.985),
)


def verdicts(*figures: Figure, **options: str) -> list[str]:
    return [claim.verdict for claim in judge(table(*figures, **options))]


def test_all_claims_about_a_large_model_hold() -> None:
    claims = judge(table(*GOOD))
    assert [claim.verdict for claim in claims] == ["PASS"] * 7
    assert [claim.measured for claim in claims] == [
        "110,000 with packs of 16,384",
        "99.0%",
        "98.2%",
        "99.00%",
        "98.50%",
        "2.16 x",
        "2.70 x",
    ]


@pytest.mark.parametrize(
    ("place", "worse", "failing"),
    [
        (2, figure("b", 60_000), [5]),
        (1, figure("a", 44_000), [6]),
        (4, figure("c", 99_500, 16384), [0]),  # and so the run at its budget is faster than it
        (5, figure("d defaults", 90_000, 4096, busy=0.97), [1, 3]),
        (6, figure("d best", 101_000, 16384, busy=0.97), [2, 4]),
    ],
)
def test_each_claim_can_fail(place: int, worse: Figure, failing: list[int]) -> None:
    figures = [*GOOD[:place], worse, *GOOD[place + 1 :]]
    found = verdicts(*figures)
    assert [number for number, verdict in enumerate(found) if verdict == "FAIL"] == failing
    assert "n/a" not in found


def test_what_was_not_measured_is_neither_held_nor_broken() -> None:
    assert verdicts(figure("c", 110_000, 4096)) == ["PASS"] + ["n/a"] * 6
    failed = [replace(one, reason="out of memory") for one in GOOD]
    assert verdicts(*failed) == ["n/a"] * 7
    assert table(*failed).rows[3][2] == "n/a"
    assert table(*failed).rows[3][-1] == "out of memory"


def test_without_a_gpu_nobody_knows_how_busy_it_was() -> None:
    on_cpu = [replace(one, turns=tuple(replace(turn, stage_share=None) for turn in one.turns)) for one in GOOD]
    assert verdicts(*on_cpu)[3:5] == ["n/a", "n/a"]


def test_less_is_claimed_about_small_models_and_short_sequences() -> None:
    assert verdicts(*GOOD, model="8M") == ["FAIL", "PASS"]
    assert verdicts(*GOOD, model="150M") == ["FAIL", "PASS"]
    assert verdicts(*GOOD, model="35M") == []
    claims = judge(table(*GOOD, workload="short"))
    assert [claim.text for claim in claims if claim.text.startswith("3B, short: ")] == [claim.text for claim in claims]
    assert [claim.measured for claim in claims] == ["99.0%", "98.2%", "99.00%", "98.50%"]


def test_rates_are_all_tokens_over_all_seconds() -> None:
    turns = (Turn(1.0, 100, 2e12), Turn(3.0, 500, 6e12))
    found = Figure("c", "", "", 4096, turns)
    assert found.tokens_per_s == pytest.approx(150)
    assert found.tflops == pytest.approx(2)
    assert found.spread == pytest.approx(0)
    assert found.mean_of("power_w") is None
    assert Figure("c", "", "", 4096, turns[:1]).spread is None
    assert Figure("ceiling", "", "", None, (Turn(1.0, 0, 7e14),)).tokens_per_s is None


def test_a_row_tells_the_ratios() -> None:
    row = dict(zip(HEADER, table(*GOOD).rows[-1], strict=True))
    assert row["tokens/s"] == "108,000"
    assert row["between rounds"] == "100.0%"
    assert row["whole run"] == "54,000"
    assert row["x (b)"] == "2.16"
    assert row["x (c)"] == "0.982"
    assert row["of ceiling"] == "100.0%"
    assert row["in stages"] == "98.50%"


def test_the_first_pass_is_that_of_the_first_turn() -> None:
    turns = (Turn(1.0, 100, 2e12, first_pass_tokens_per_s=70.0), Turn(1.0, 100, 2e12))
    measured = Figure("a", "", "", None, turns)
    (cells,) = table(measured).rows
    assert dict(zip(HEADER, cells, strict=True))["first pass"] == "70"
    assert replace(measured, reason="out of memory").first_pass is None
    assert figure("c", 99_000, 4096).first_pass is None


def test_fp8_is_judged_where_bf16_is_fastest() -> None:
    fp8 = [figure("c fp8", 132_000, 16384), figure("c fp8", 900_000, 4096)]
    speed, precision = judge_fp8(table(*GOOD, *fp8), 0.9993)
    assert (speed.verdict, speed.measured) == ("FAIL", "x1.200")
    assert (precision.verdict, precision.measured) == ("PASS", "0.99930")
    assert [claim.verdict for claim in judge_fp8(table(*GOOD, *fp8), None)] == ["FAIL", "n/a"]
    assert judge_fp8(table(*GOOD), 0.9993) == []
    assert judge_fp8(replace(table(*GOOD, *fp8), model="650M"), 0.9) == []


def test_end_to_end_in_fp8_is_held_against_the_same_others_and_its_own_forward() -> None:
    fp8 = figure("c fp8", 150_000, 16384), figure("d fp8", 120_000, 16384)
    found = judge_fp8(table(*GOOD, *fp8), 0.9993)
    assert [(claim.text, claim.verdict, claim.measured) for claim in found[:2]] == [
        ("3B: end to end, best, fp8, at least 2 x Hugging Face", "PASS", "2.40 x"),
        ("3B: end to end, best, fp8, at least 2.5 x fair-esm", "PASS", "3.00 x"),
    ]
    assert table(*GOOD, *fp8).of_forward("d fp8") == pytest.approx(0.8)
    slow = figure("c fp8", 150_000, 16384), figure("d fp8", 99_000, 16384)
    of_short_sequences = judge_fp8(table(*GOOD, *slow, workload="short"), None)
    assert [claim.verdict for claim in of_short_sequences] == ["FAIL", "FAIL"]


def test_fp8_is_compared_at_the_same_budget() -> None:
    fp8 = [figure("c fp8", 132_000, 16384), replace(figure("c fp8", 1, 4096), reason="no such precision")]
    assert compare_fp8(table(*GOOD, *fp8)) == ["3B, sweep: FP8 is x1.200 at 16,384 tokens"]


def test_any_stretch_of_batches_is_a_fair_sample() -> None:
    order = [load.tokens for load, _ in evenly_spread([(Load(i, 0), None) for i in range(100)])]
    assert sorted(order) == list(range(100))
    for start in range(80):
        assert np.mean(order[start : start + 20]) == pytest.approx(49.5, rel=0.08)
    together = [load.tokens for load, _ in evenly_spread([(Load(i, 0), None) for i in range(10)], together=4)]
    assert sorted(together) == list(range(10))
    assert [together[i + 1] - together[i] for i in range(9)].count(1) >= 7  # within groups of 4, 4 and 2


@pytest.mark.parametrize("first", [3, 5])
def test_turns_go_on_where_the_last_one_ended(first: int) -> None:
    seen = []
    batches = [(Load(1, 10), number) for number in range(4)]

    def launch(number: int) -> torch.Tensor:
        seen.append(number)
        return torch.ones(1)

    passes = Passes(torch.device("cpu"), batches, launch, first)
    turns = [passes.turn(0.001, 0.0) for _ in range(2)]
    assert seen == [number % 4 for number in range(len(seen))]
    assert len(seen) == sum(turn.tokens for turn in turns) + first  # the very first ones do not count
    assert all(turn.flops == 10 * turn.tokens for turn in turns)
    assert (turns[0].first_pass_tokens_per_s is None) == (first == 3)  # these load the kernels, and show nothing else
    assert turns[1].first_pass_tokens_per_s is None  # each shape has been met by then


def test_vectors_that_are_not_finite_are_no_measurement() -> None:
    passes = Passes(torch.device("cpu"), [(Load(1, 1), None)], lambda _: torch.tensor([float("nan")]))
    with pytest.raises(RuntimeError, match="not finite"):
        passes.turn(0.001, 0.0)


def test_padded_batches_keep_to_the_limit_and_pool_residues_alone() -> None:
    model = fair_esm_model(TINY)
    sequences = proteins([5, 9, 30, 12, 7, 50, 8], seed=3)
    table_of = residue_alphabet(None)
    encoded = [
        np.array([table_of.bos, *table_of.table[np.frombuffer(text.encode(), np.uint8)], table_of.eos], np.uint8)
        for text in sequences
    ]
    batches = padded_batches(encoded, 40, TINY, torch.float32)
    assert sum(load.tokens for load, _ in batches) == sum(map(len, encoded))
    assert all(batch.tokens.numel() <= 40 or len(batch.tokens) == 1 for _, batch in batches)
    launch = fair_esm_launch(model, torch.device("cpu"))
    with torch.inference_mode():
        vectors = {int(n): row for _, b in batches for n, row in zip(b.mask.sum(1), launch(b), strict=True)}
    for rows in padded_oracle(model, sequences):
        torch.testing.assert_close(vectors[len(rows)].double(), mean_over_residues(rows), atol=1e-5, rtol=1e-4)


def test_agreement_tells_what_different_sequences_have_in_common() -> None:
    common = torch.tensor([100.0, 0.0, 0.0])
    own = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    same = compare(common + own, common + own)
    assert same.lowest == pytest.approx(1)
    assert same.lowest_centered == pytest.approx(1)
    assert same.between_sequences > 0.999
    mixed_up = compare(common + own, common - own)
    assert mixed_up.lowest > 0.999
    assert mixed_up.lowest_centered == pytest.approx(-1)
    assert mixed_up.sequences == 4
