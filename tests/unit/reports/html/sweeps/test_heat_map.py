# SPDX-License-Identifier: MIT
"""Heat maps: what each cell says, and that noise does not look like a result."""

import re
from dataclasses import replace

import pytest

from tests.support.sweeps import FakeTrials, failure, not_tried, run_in_journal, small_plan, success
from virnuc_profiler.reports.html.sweeps.heat_map import MAX_MAPS, has_maps, heat_maps
from virnuc_profiler.reports.sweeps.sweep_folder import read_sweep_folder
from virnuc_profiler.sweep.plan.objective import Objective

GRID = {"num_workers": (2, 4, 8), "prefetch_factor": (2, 4), "token_budget": (2048,), "buffer_size": (500,)}


@pytest.fixture
def documents(tmp_path):
    def run(result_of, grid=GRID):
        run_in_journal(tmp_path, FakeTrials(result_of), begin=replace(small_plan(), grid=grid))
        return read_sweep_folder(tmp_path).documents

    return run


def cells(markup):
    """Kind, shade and text of each cell."""
    found = re.findall(r'<td(?: class="(\w+)")? ([^>]*)>(.*?)</td>', markup, re.DOTALL)
    shades = [re.search(r"--heat: (\d+)%", attributes) for _, attributes, _ in found]
    texts = [re.sub(r"<[^>]+>", " ", text).strip() for _, _, text in found]
    return [
        (kind, shade and int(shade[1]), text) for (kind, _, _), shade, text in zip(found, shades, texts, strict=True)
    ]


def test_failed_cells_have_their_reason_and_the_best_is_marked(documents):
    def result_of(config):
        if config.num_workers == 8:
            return failure(config) if config.prefetch_factor == 2 else not_tried(config)
        return success(config, 100 + 10 * config.num_workers)

    (maps,) = heat_maps({"DataLoader": documents(result_of)["dataloader"]})
    found = cells(maps)
    assert len(found) == 6
    assert [text for kind, _, text in found if kind == "failed"] == ["OOM", "OOM, predicted"]
    (best,) = [text for kind, _, text in found if kind == "best"]
    assert best.startswith("1.00x ★")
    assert "peak memory: 79.50 GB before OOM" in maps
    assert "DataLoader: workers by prefetch" in maps
    assert len(re.findall(r"<td[^>]* tabindex=\"0\"", maps)) == 1  # the others are reached with the arrow keys


def test_a_small_spread_is_light_and_a_large_one_uses_the_scale(documents):
    quiet = documents(lambda config: success(config, 100 + 0.01 * config.num_workers))
    shades = [shade for _, shade, _ in cells(heat_maps({"x": quiet["dataloader"]})[0])]
    assert min(shades) >= 95
    assert "4%+ slower" in heat_maps({"x": quiet["dataloader"]})[0]


def test_the_slowest_of_a_large_spread_is_blank(documents):
    found = documents(lambda config: success(config, 100 * config.num_workers))
    shades = {shade for _, shade, _ in cells(heat_maps({"x": found["dataloader"]})[0])}
    assert 0 in shades
    assert 100 in shades


def test_one_knob_has_no_map_and_many_pairs_are_counted(documents):
    one = documents(success, {**GRID, "num_workers": (2,)})["dataloader"]
    assert not has_maps(one)
    assert heat_maps({"x": one}) == []
    many = {f"step {number}": documents(success)["dataloader"] for number in range(MAX_MAPS + 2)}
    assert "2 further pairs of knobs are in the tables below" in heat_maps(many)[1]


def test_a_scale_of_energy_says_how_much_more_each_takes(tmp_path):
    def result_of(config):
        return success(config, joules_per_sequence=2.0 if config.prefetch_factor == 2 else 1.0)

    energy = Objective("energy")
    begin = replace(small_plan(), grid=GRID, objective=energy)
    run_in_journal(tmp_path, FakeTrials(result_of), begin=begin, objective=energy)
    (maps,) = heat_maps({"x": read_sweep_folder(tmp_path).documents["dataloader"]})
    assert "100%+ more energy" in maps  # a half of the saving is twice the energy
