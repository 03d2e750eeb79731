# SPDX-License-Identifier: MIT
"""Every format of ``report`` renders every kind of result, and the command finds it by its name."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from virnuc_profiler.cli.main import main
from virnuc_profiler.reports import renderers

SWEEP = Path(__file__).parents[2] / "data" / "v1.0" / "sweep" / "finished"
RESULTS = (SWEEP / "baseline.json", SWEEP / "best_config.json", *sorted(SWEEP.rglob("telemetry_*.json"))[:1], SWEEP)


class NameRenderer:
    """Renders each result as its kind alone."""

    def step(self, document: object) -> str:
        return "step\n"

    def best(self, best: object) -> str:
        return "best\n"

    def run(self, run: object) -> str:
        return "run\n"

    def telemetry(self, performance: object) -> str:
        return "telemetry\n"

    def join(self, parts: Sequence[str]) -> str:
        return "".join(parts)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
@pytest.mark.parametrize("name", renderers.RENDERERS)
def test_every_format_renders_every_kind(name, path, capsys):
    assert main(["report", str(path), "--format", name]) == 0
    assert capsys.readouterr().out.strip()


def test_a_new_format_is_one_class_and_one_entry(monkeypatch, capsys):
    monkeypatch.setattr(renderers, "RENDERERS", {**renderers.RENDERERS, "names": NameRenderer()})
    for path, expected in zip(RESULTS, ("step\n", "best\n", "telemetry\n", "step\n" * 5), strict=True):
        assert main(["report", str(path), "--format", "names"]) == 0
        assert capsys.readouterr().out == expected


def test_an_unknown_format_is_refused_by_name(capsys):
    assert main(["report", str(SWEEP), "--format", "pdf"]) == 2
    assert "--format 'pdf' is not one of text" in capsys.readouterr().err
