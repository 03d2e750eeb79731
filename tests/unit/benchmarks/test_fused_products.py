# SPDX-License-Identifier: MIT
"""How fused products are compared, with graphs that are only pretended; the figures need Hopper."""

import sys

import pytest

pytest.importorskip("triton.tools.tensor_descriptor")

from benchmarks.fused_products import Comparison, in_turn, main
from benchmarks.paired import ratio_of_pairs

from benchmarks import fused_products


def compared(fused: list[float], apart: list[float]) -> Comparison:
    return Comparison("3B", 4096, "GELU", 0.97, True, 1.0, 1.0, ratio_of_pairs(apart, fused))


def test_both_take_turns_in_the_order_that_cancels_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(fused_products, "recorded", lambda call: call())
    monkeypatch.setattr(fused_products, "seconds_of", lambda name, _: order.append(name) or float(len(order)))
    fused, apart = in_turn(lambda: "A", lambda: "B", 4, 0.01)
    assert "".join(order) == "ABBABAAB"
    assert [second * fused_products.CALLS for second in fused] == pytest.approx([1, 4, 6, 7])
    assert [second * fused_products.CALLS for second in apart] == pytest.approx([2, 3, 5, 8])


def test_only_what_is_beyond_doubt_is_slower() -> None:
    fast, slow, noisy = [1.0] * 8, [1.1] * 8, [1.1, 0.9] * 4
    assert compared(fused=slow, apart=fast).slower
    assert not compared(fused=fast, apart=slow).slower
    assert not compared(fused=noisy, apart=fast).slower
    assert compared(fused=fast, apart=slow).row[-2:] == ["x1.100", "1.100 to 1.100"]


def test_without_hopper_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fused_products", "--device", "cpu"])
    with pytest.raises(SystemExit, match="need Hopper"):
        main()
