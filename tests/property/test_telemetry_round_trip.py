# SPDX-License-Identifier: MIT
import json
import math
import tempfile

from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from virnuc_profiler.telemetry.logger import TelemetryLogger
from virnuc_profiler.telemetry.reader import read_telemetry
from virnuc_profiler.telemetry.schema import find_problem, telemetry_schema

counts = st.none() | st.integers(0, 2**40)
amounts = st.none() | st.floats(0, allow_nan=False, allow_infinity=False)
known = st.fixed_dictionaries(
    {},
    optional={
        "num_sequences": counts,
        "num_tokens": counts,
        "tokens_per_sec": amounts,
        "wait_time_ms": amounts,
        "gpu_util": st.none() | st.floats(0, 100),
        "packing_efficiency": st.none() | st.floats(0, 1),
        "queue_state": st.sampled_from(["full", "normal", "starved", None]),
        "checkpoint_write_ms": amounts,
        "checkpoint_queue_depth": counts,
    },
)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
own = st.dictionaries(st.text().map(lambda text: "own " + text), plain, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(known, own), max_size=8), own, st.integers(0, 10**14))
@example([({"wait_time_ms": 1.6e308}, {}), ({"wait_time_ms": 2.3e307}, {})], {}, 0)  # no number holds their sum
def test_files_hold_what_was_recorded_and_sums_are_exact(batches, metadata, elapsed_ns):
    ticks = iter([0])
    with tempfile.TemporaryDirectory() as folder:
        logger = TelemetryLogger(folder, "x", clock_ns=lambda: next(ticks, elapsed_ns))
        logger.set_run_metadata(**metadata)
        for number, (metrics, more) in enumerate(batches):
            logger.record_batch(number, {**metrics, **more})
        path = logger.finalize()
        document = read_telemetry(path)
        strict = json.loads(path.read_text(), parse_constant=lambda name: 1 / 0)
    Draft202012Validator(telemetry_schema()).validate(strict)
    assert document == strict
    assert document["run_metadata"] == metadata
    for record, (metrics, more) in zip(document["per_batch_metrics"], batches, strict=True):
        assert {**record, **metrics, **more} == record
    summary = document["summary"]
    assert summary["total_batches"] == len(batches)
    assert summary["elapsed_seconds"] == elapsed_ns / 1e9
    for total, key in (("total_sequences", "num_sequences"), ("total_tokens", "num_tokens")):
        counted = [metrics[key] for metrics, _ in batches if metrics.get(key) is not None]
        assert summary[total] == (sum(counted) if counted or not batches else None)
    if batches and any(metrics.get("num_tokens") is None for metrics, _ in batches):
        assert summary["avg_tokens_per_sec"] is None
    elif elapsed_ns:
        assert math.isclose(summary["avg_tokens_per_sec"], summary["total_tokens"] / (elapsed_ns / 1e9))


SCHEMAS = {
    name: Draft202012Validator({"$defs": telemetry_schema()["$defs"], "$ref": f"#/$defs/{name}"})
    for name in ("batch", "summary")
}
odd_numbers = [
    0,
    1,
    -1,
    100,
    101,
    2**63 - 1,
    2**63,
    10**400,
    0.0,
    -0.0,
    1.0,
    1.5,
    -0.5,
    100.1,
    5e-324,
    1.79e308,
    2.0**64,
]
odd_others = [None, True, False, "", "full", "FULL", [], {}, ["full"], {"a": 1}, {"a": -1}, {"a": "b"}, {"a": None}]
odd = st.sampled_from([*odd_numbers, *odd_others, {"a": {}}, {"a": True}])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_fast_checks_say_what_the_schema_says(data):
    name = data.draw(st.sampled_from(["batch", "summary"]))
    keys = sorted(telemetry_schema()["$defs"][name]["properties"])
    values = data.draw(st.dictionaries(st.sampled_from([*keys, "unknown"]), odd | plain, max_size=3))
    assert (find_problem(name, values) is None) == SCHEMAS[name].is_valid(values)
