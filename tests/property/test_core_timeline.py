# SPDX-License-Identifier: MIT
"""Any order of marks, ends and discards on several open batches is recorded correctly."""

from hypothesis import given
from hypothesis import strategies as st

from virnuc_profiler import _core

STAGES = ["a", "b", "c"]

actions = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([*STAGES, "end_stage", "interval", "end", "discard"])),
    max_size=60,
)


@given(actions)
def test_what_is_recorded_is_what_was_done(steps: list[tuple[int, str]]) -> None:
    timeline = _core.Timeline(STAGES)
    batches = [timeline.begin_batch(index) for index in range(4)]
    expected: list[list[str]] = [[] for _ in batches]
    state = ["open"] * 4
    for which, action in steps:
        if state[which] != "open":
            continue
        batch = batches[which]
        if action in STAGES:
            batch.mark(action)
            expected[which].append(action)
        elif action == "end_stage":
            batch.end_stage()
        elif action == "interval":
            now = _core.monotonic_ns()
            batch.record_interval("c", now, now)
            expected[which].append("c")
        elif action == "end":
            batch.end()
            state[which] = "ended"
        else:
            batch.discard()
            state[which] = "discarded"

    rows, stages = timeline.batches(), timeline.stages()
    assert list(rows["index"]) == [index for index in range(4) if state[index] == "ended"]
    for row in rows:
        of_batch = stages[row["stage_begin"] : row["stage_end"]]
        assert [STAGES[number] for number in of_batch["stage"]] == expected[row["index"]]
        assert (of_batch["host_start_ns"][1:] >= of_batch["host_start_ns"][:-1]).all()
        assert (of_batch["host_end_ns"] >= of_batch["host_start_ns"]).all()
        assert (of_batch["host_start_ns"] >= row["host_start_ns"]).all()
        assert (of_batch["host_end_ns"] <= row["host_end_ns"]).all()
    assert len(stages) == sum(len(expected[index]) for index in rows["index"])
