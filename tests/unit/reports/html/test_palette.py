# SPDX-License-Identifier: MIT
"""The colors can be read: contrasts as WCAG 2 defines them, and differences that remain in gray."""

import itertools

import pytest

from virnuc_profiler.reports.html.palette import COLORS, css_variables

LIGHT, DARK = 0, 1
SERIES = [name for name in COLORS if name.startswith("series-")]


def channels(color):
    return [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def luminance(rgb):
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_marks_and_text_stand_out(theme):
    surfaces = [channels(COLORS[name][theme]) for name in ("surface", "paper")]
    for surface in surfaces:
        for name in SERIES:
            assert contrast(channels(COLORS[name][theme]), surface) >= 3, name
        for name in ("ink", "ink-2", "ink-3", "accent", "good", "warning", "bad"):
            assert contrast(channels(COLORS[name][theme]), surface) >= 4.5, name


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_is_readable_on_each_shade_of_a_heat_map(theme):
    low, high = (channels(COLORS[f"heat-{end}"][theme]) for end in ("low", "high"))
    for step in range(11):
        shade = [a + (b - a) * step / 10 for a, b in zip(low, high, strict=True)]
        assert contrast(channels(COLORS["ink"][theme]), shade) >= 4.5
        assert contrast(channels(COLORS["ink-2"][theme]), shade) >= 3


def seen_without_red_cones(rgb):
    """Colors as protanopes and deuteranopes see them, roughly: red and green are one."""
    red, green, blue = rgb
    return (0.5 * red + 0.5 * green, blue)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_first_series_differ_without_telling_red_from_green(theme):
    shown = {name: seen_without_red_cones(channels(COLORS[name][theme])) for name in SERIES[:4]}
    for one, other in itertools.combinations(shown, 2):
        assert sum(abs(a - b) for a, b in zip(shown[one], shown[other], strict=True)) > 0.15, (one, other)


def test_print_is_light():
    sheet = css_variables()
    assert sheet.count("@media screen") == 2
    assert all(line.startswith((":root {", "@media screen")) for line in sheet.splitlines())
