# SPDX-License-Identifier: MIT
"""Metrics as text, read by the parsers of Prometheus' own client."""

import pytest

from tests.unit.cli.test_terminal import HOSTILE
from virnuc_profiler.reports.export.open_metrics import COUNTER, Metric, counter, gauge, render_metrics

openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
prometheus = pytest.importorskip("prometheus_client.parser")

LABELS = {"job": "/data/vectors", "rank": "0"}
METRICS = [
    gauge("virnuc_embed_running", "Whether the job runs", 1, LABELS),
    counter("virnuc_embed_tokens", "Tokens", 12_345_678_901, LABELS),
    gauge("virnuc_gpu_power_watts", "Power", 684.25, LABELS),
    gauge("virnuc_embed_remaining_seconds", "Time left", None, LABELS),
    Metric("virnuc_sweep_trials", COUNTER, "Trials", [({"outcome": "success"}, 3), ({"outcome": "OOM"}, 1)]),
]


def parsed(text, *, open_metrics):
    parser = openmetrics if open_metrics else prometheus
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def samples(family):
    return [(sample.name, sample.labels, sample.value) for sample in family.samples]


@pytest.mark.parametrize("open_metrics", [True, False])
def test_the_parsers_read_what_was_written(open_metrics):
    families = parsed(render_metrics(METRICS, open_metrics=open_metrics), open_metrics=open_metrics)
    assert {name: family.type for name, family in families.items()} == {
        "virnuc_embed_running": "gauge",
        "virnuc_embed_tokens": "counter",
        "virnuc_gpu_power_watts": "gauge",
        "virnuc_sweep_trials": "counter",
    }
    assert samples(families["virnuc_embed_tokens"]) == [("virnuc_embed_tokens_total", LABELS, 12_345_678_901)]
    assert samples(families["virnuc_gpu_power_watts"]) == [("virnuc_gpu_power_watts", LABELS, 684.25)]
    assert [labels["outcome"] for _, labels, _ in samples(families["virnuc_sweep_trials"])] == ["success", "OOM"]
    assert families["virnuc_embed_tokens"].documentation == "Tokens"


def test_each_format_to_the_letter():
    metric = counter("virnuc_embed_tokens", "Tokens", 7, {"rank": "0"})
    assert render_metrics([metric], open_metrics=True) == (
        "# HELP virnuc_embed_tokens Tokens\n"
        "# TYPE virnuc_embed_tokens counter\n"
        'virnuc_embed_tokens_total{rank="0"} 7\n'
        "# EOF\n"
    )
    assert render_metrics([metric], open_metrics=False) == (
        "# HELP virnuc_embed_tokens_total Tokens\n"
        "# TYPE virnuc_embed_tokens_total counter\n"
        'virnuc_embed_tokens_total{rank="0"} 7\n'
    )
    assert "# UNIT virnuc_x_seconds seconds" in render_metrics(
        [gauge("virnuc_x_seconds", "X", 1.5, {})], open_metrics=True
    )


@pytest.mark.parametrize("open_metrics", [True, False])
@pytest.mark.parametrize(
    "text", [*HOSTILE, 'a"} 1\nevil_total{x="', "back\\slash\\", "\n# EOF\n", "日本語", "=1+1", "", "x" * 10_000]
)
def test_hostile_labels_stay_labels(text, open_metrics):
    written = render_metrics([gauge("virnuc_x", "X", 1, {"job": text, "rank": "0"})], open_metrics=open_metrics)
    (family,) = parsed(written, open_metrics=open_metrics).values()
    ((name, labels, value),) = samples(family)
    assert (name, labels["rank"], value) == ("virnuc_x", "0", 1)
    assert len(written) < 2000
    assert all(line.isprintable() for line in written.split("\n"))


def test_long_paths_differ_at_their_end():
    one, other = (f"/{'deep/' * 100}{name}" for name in ("a", "b"))
    written = render_metrics(
        [Metric("virnuc_x", "gauge", "X", [({"f": one}, 1), ({"f": other}, 2)])], open_metrics=True
    )
    (family,) = parsed(written, open_metrics=True).values()
    assert [labels["f"][-6:] for _, labels, _ in samples(family)] == ["deep/a", "deep/b"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e-300, 1e300, 0, -1])
def test_any_number_is_read_back(value):
    written = render_metrics([gauge("virnuc_x", "X", value, {})], open_metrics=True)
    (family,) = parsed(written, open_metrics=True).values()
    assert repr(float(family.samples[0].value)) == repr(float(value))
