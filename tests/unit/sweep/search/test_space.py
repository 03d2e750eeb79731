"""The space holds what fits, and nothing twice."""

import pytest

from virnuc_profiler.sweep.search.space import MAX_BUFFER, build_space
from virnuc_profiler.targets.knobs.configuration import BASELINE, Configuration


def space(**changes):
    usual = {"workers": 16, "largest_budget": 131_072, "tokens": 4_300_000, "num_sequences": 20_000}
    return build_space(**{**usual, "longest_tokens": 1000, **changes})


def test_budgets_end_at_what_fits_and_begin_at_the_longest_sequence():
    budgets = space(largest_budget=50_000, longest_tokens=3000).axes["token_budget"]
    assert budgets[0] == 3000
    assert budgets[-1] == 50_000
    assert 4096 in budgets
    assert list(budgets) == sorted(set(budgets))


def test_a_budget_beyond_a_tenth_of_the_workload_is_not_tried():
    assert space(largest_budget=10**7).axes["token_budget"][-1] == 4_300_000 // 10


def test_a_small_workload_still_allows_the_budgets_of_the_default_grid():
    assert space(tokens=20_000, num_sequences=100).axes["token_budget"][-1] == 8192


@pytest.mark.parametrize("cores", [1, 2, 7, 16])
def test_workers_range_from_none_to_the_cores(cores):
    levels = space(workers=cores).axes["num_workers"]
    assert (levels[0], levels[-1]) == (0, cores)


def test_every_configuration_keeps_the_bounds_and_occurs_once():
    found = space(largest_budget=20_000)
    assert len(set(found.configurations)) == len(found.configurations)
    for one in found.configurations:
        assert one.num_workers <= 16
        assert 1000 <= one.token_budget <= 20_000
        assert 250 <= one.buffer_size <= MAX_BUFFER
        assert one.num_workers or one.prefetch_factor == BASELINE.prefetch_factor


def test_seeds_are_the_largest_budget_with_many_and_few_workers_and_middle_ones():
    many, few, *middle = space().seeds()
    assert many.token_budget == few.token_budget == 131_072
    assert many.num_workers == 16
    assert 0 < few.num_workers <= 2
    assert all(1024 < one.token_budget < 131_072 for one in middle)


def test_one_core_leaves_seeds_that_differ():
    seeds = space(workers=1).seeds()
    assert len(set(seeds)) == len(seeds) > 2


def test_precisions_are_an_axis_only_where_there_are_several():
    assert "precision" not in space().axes
    assert "precision" not in space(precisions=("bf16",)).axes
    found = space(precisions=("bf16", "fp8"))
    assert {one.precision for one in found.configurations} == {"bf16", "fp8"}
    assert len({len(found.position(one)) for one in found.configurations}) == 1


def test_a_configuration_off_the_ladders_has_the_nearest_place():
    found = space()
    assert found.point(Configuration(5, 3, 4100, 152)) == {
        "num_workers": 6, "prefetch_factor": 4, "token_budget": 4096, "packs_in_buffer": 8,
    }  # fmt: skip
    assert all(0 <= place <= 1 for place in found.position(BASELINE))
