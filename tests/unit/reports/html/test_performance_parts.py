# SPDX-License-Identifier: MIT
"""Parts of the page of a telemetry file."""

from virnuc_profiler.reports.html.performance_parts import batches_figure


def test_the_rate_of_a_batch_is_what_the_file_defines():
    figure = batches_figure([{"tokens_per_sec": 100.0}, {"tokens_per_sec": 300.0}])
    assert figure.caption == (
        "The rate of each batch over the time from the completion of the one before to its own"
    )  # docs/telemetry.md, tokens_per_sec
    assert figure.alternative == "2 batches, from 100 to 300 tokens/s."
    assert batches_figure([{"tokens_per_sec": 100.0}]) is None
