"""Options of a search: what is refused beside it, what a dry run says of it, and what the journal keeps."""

import pytest

from virnuc_profiler.__main__ import main
from virnuc_profiler.sweep.search import proposals

DRY = ["sweep", "--device", "cpu", "--model", "esm2_t6_8M_UR50D", "--num-sequences", "400", "--dry-run"]
SEARCH = [*DRY, "--search", "adaptive"]


@pytest.fixture(autouse=True)
def with_optuna(monkeypatch):
    monkeypatch.setattr(proposals, "require_optuna", lambda: None)


def test_a_dry_run_shows_the_space_the_trials_and_the_time(tmp_path, capsys):
    assert main([*SEARCH, "--budget-minutes", "5", "--output-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "search: 0 to " in out
    assert "workers, prefetch 1 to 16, budgets 1,024 to " in out
    assert "at most 16 short trials, then a race of 8 finalists and the baseline in at most 16 blocks" in out
    assert "all trials within 5 min 00 s" in out
    assert "confirmation: the finalists and the baseline, in blocks\nvalidation: 1 configuration\n" in out
    assert "at most five times as much for the race" in out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--steps", "baseline"], "--steps"),
        (["--repeats", "5"], "--repeats"),
        (["--num-workers", "0,2"], "--num-workers"),
        (["--token-budget", "4096,8192"], "--token-budget"),
    ],
)
def test_options_without_effect_beside_a_search_are_refused(options, named, capsys):
    assert main([*SEARCH, *options]) == 2
    assert f"{named} has no effect with --search adaptive" in capsys.readouterr().err


def test_a_limit_of_time_needs_a_search(capsys):
    assert main([*DRY, "--budget-minutes", "5"]) == 2
    assert "--budget-minutes has no effect without --search adaptive" in capsys.readouterr().err


def test_the_step_of_a_search_is_no_step_of_a_grid(capsys):
    assert main([*DRY, "--steps", "search"]) == 2
    assert "--steps search needs --search adaptive" in capsys.readouterr().err


def test_without_the_extra_one_sentence_says_how_to_get_it(monkeypatch, capsys):
    def missing():
        raise proposals.UsageError(proposals.MISSING)

    monkeypatch.setattr(proposals, "require_optuna", missing)
    assert main(SEARCH) == 2
    assert "pip install virnuc_profiler[search]" in capsys.readouterr().err
