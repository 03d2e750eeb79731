"""Optuna proposes: quietly, within the bounds, and the same again for the same past."""

import builtins
import warnings

import pytest

from virnuc_profiler.errors import UsageError
from virnuc_profiler.sweep.search.proposals import propose, require_optuna
from virnuc_profiler.sweep.search.space import build_space

SPACE = build_space(workers=4, largest_budget=16_384, tokens=430_000, num_sequences=2000, longest_tokens=1000)


@pytest.fixture
def optuna():
    pytest.importorskip("torch", reason="Optuna's Gaussian process needs PyTorch")
    return pytest.importorskip("optuna", reason="needs the extra 'search': pip install virnuc_profiler[search]")


def past(count):
    step = len(SPACE.configurations) // count
    return [(one, 0.01 * number) for number, one in enumerate(SPACE.configurations[::step][:count])]


@pytest.mark.usefixtures("optuna")
def test_proposals_lie_in_the_space_and_depend_on_past_and_seed_only():
    first, again = (propose(SPACE, past(6), seed=5) for _ in range(2))
    assert first == again
    assert first in SPACE.configurations


@pytest.mark.usefixtures("optuna")
def test_it_says_nothing(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        propose(SPACE, past(4), seed=5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("optuna")
def test_precision_is_a_choice():
    space = build_space(
        workers=1, largest_budget=4096, tokens=430_000, num_sequences=2000, longest_tokens=1000,
        precisions=("bf16", "fp8"),
    )  # fmt: skip
    assert propose(space, [(one, 1.0) for one in space.seeds()], seed=1).precision in ("bf16", "fp8")


def test_without_the_extra_one_sentence_says_how_to_get_it(monkeypatch):
    usual = builtins.__import__

    def without_optuna(name, *rest):
        if name == "optuna":
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_optuna)
    with pytest.raises(UsageError, match=r"^--search adaptive .*pip install virnuc_profiler\[search\]$"):
        require_optuna()
