"""Plots: what is drawn where, read back from their elements."""

import re

import pytest

from tfseg.metrics.clinical import bland_altman
from tfseg.report.columns import column
from tfseg.report.plots import Box, Interval, agreement_plot, box_plot, forest_plot, share_curve

DICE, HD95, RVD = (column(name, "mm") for name in ("dice", "hd95", "rvd"))


def dots(svg: str) -> dict[str, tuple[float, float]]:
    """Words of each dot -> its place."""
    found = re.findall(r'<circle cx="(.+?)" cy="(.+?)" r=".+?"><title>(.+?)</title>', svg)
    return {words: (float(x), float(y)) for x, y, words in found}


def lines(svg: str, kind: str) -> list[tuple[float, ...]]:
    """(x1, y1, x2, y2) of each line of a class."""
    found = re.findall(rf'<path d="M(\S+) (\S+)L(\S+) (\S+)" class="{kind}"', svg)
    return [tuple(map(float, ends)) for ends in found]


def test_a_box_plot_is_drawn_to_scale():
    # Quartiles by hand; whiskers end at 0.4 (1.5 lengths from 0.5 reach 0.2) and 0.9.
    values = [0.1, 0.4, 0.5, 0.6, 0.7, 0.9]
    points = [(f"c{i}", value) for i, value in enumerate(values)]
    box = Box("liver", points, (0.5, 0.6, 0.7))
    assert box.whiskers == (0.4, 0.9)
    svg = box_plot([box], DICE)
    places = dots(svg)
    assert list(places) == [f"c{i}: {value:.3f}" for i, value in enumerate(values)]
    left, right = places["c0: 0.100"][0], places["c5: 0.900"][0]

    def at(value: float) -> float:
        return left + (value - 0.1) / 0.8 * (right - left)

    for words, (x, _) in places.items():
        assert x == pytest.approx(at(float(words.split(": ")[1])), abs=0.2)
    ((low, _, q1, _), (q3, _, high, _)) = lines(svg, "whisker")
    ((median, _, _, _),) = lines(svg, "median")
    for place, value in zip((low, q1, median, q3, high), (0.4, 0.5, 0.6, 0.7, 0.9), strict=True):
        assert place == pytest.approx(at(value), abs=0.2)


@pytest.mark.parametrize(
    ("column_", "worst"), [(DICE, "low: −0.300"), (HD95, "high: 0.20"), (RVD, "low: −0.300")]
)
def test_the_worst_case_is_named(column_, worst):
    svg = box_plot([Box("a", [("low", -0.3), ("mid", 0.0), ("high", 0.2)], None)], column_)
    assert f">{worst}</text>" in svg
    assert "whisker" not in svg


def test_counts_are_told_and_a_class_without_values_keeps_its_row():
    svg = box_plot(
        [Box("a", [("c", 0.5)], (0.5, 0.5, 0.5)), Box("b", [], None, "2 undefined")], DICE
    )
    assert ">n = 1</text>" in svg
    assert ">n = 0, 2 undefined</text>" in svg
    assert len(dots(svg)) == 1


def test_of_very_many_cases_only_those_beyond_the_whiskers_have_names():
    points = [(f"c{i}", 0.5 + i / 1000) for i in range(200)] + [("far", 0.0)]
    svg = box_plot([Box("a", points, (0.55, 0.6, 0.65))], DICE)
    assert list(dots(svg)) == ["far: 0.000"]
    (crowd,) = re.findall(r'<path d="([^"]+)" class="crowd"', svg)
    assert crowd.count("M") == 200


def test_a_bland_altman_plot_has_its_lines_where_the_numbers_say():
    points = [("a", 10.0, 11.0), ("b", 20.0, 19.0), ("c", 30.0, 33.0)]
    found = bland_altman([10, 20, 30], [11, 19, 33])
    # Differences 1, -1, 3: mean 1, SD 2, limits 1 -+ 3.92.
    assert (found.bias, found.lower, found.upper) == pytest.approx((1.0, -2.92, 4.92))
    svg = agreement_plot(points, "ml", found)
    places = dots(svg)
    assert set(places) == {"a: +1.0 ml", "b: −1.0 ml", "c: +3.0 ml"}
    xs, ys = zip(*places.values(), strict=True)
    per_ml = (ys[1] - ys[2]) / 4
    assert (xs[1] - xs[0]) / (xs[2] - xs[1]) == pytest.approx(9 / 12, abs=0.02)
    ((_, bias, _, _),) = lines(svg, "bias")
    assert bias == pytest.approx(ys[0], abs=0.2)
    above, below = (line[1] for line in lines(svg, "limit"))
    assert (bias - above, below - bias) == pytest.approx((3.92 * per_ml,) * 2, abs=0.3)
    for words in ("bias: +1.0", "+1.96 SD: +4.9", "−1.96 SD: −2.9"):
        assert f">{words}</text>" in svg


def test_one_case_has_no_limits_of_agreement():
    svg = agreement_plot([("a", 1.0, 1.5)], "ml", bland_altman([1.0], [1.5]))
    assert lines(svg, "limit") == []
    assert len(lines(svg, "bias")) == 1


def test_the_share_of_cases_falls_at_each_value():
    svg = share_curve([0.5, 0.75, 0.75, 1.0], "Dice")
    (path,) = re.findall(r'<path d="([^"]+)" class="curve"', svg)
    heights = [float(v) for v in re.findall(r"V(\S+?)(?=H|$)", path)]
    top = float(path.split("H")[0].split()[1])
    bottom = heights[-1]
    shares = [(bottom - height) / (bottom - top) for height in heights]
    assert shares == pytest.approx([0.75, 0.5, 0.25, 0.0], abs=0.01)


@pytest.mark.parametrize(
    ("column_", "left", "right"),
    [(DICE, "other", "this"), (HD95, "this", "other"), (RVD, "this", "other")],
)
def test_a_forest_plot_says_which_side_is_better(column_, left, right):
    svg = forest_plot([Interval("liver", 0.5, 0.25, 0.75, "this")], column_)
    assert f">← {left} better</text>" in svg
    assert f">{right} better →</text>" in svg
    ((low, _, high, _),) = lines(svg, "interval this")
    ((zero, _, _, _),) = lines(svg, "zero")
    (mean,) = re.findall(r'<rect x="(\S+)"', svg)
    assert float(mean) + 4 - zero == pytest.approx((low + high) / 2 - zero, abs=0.2)
    assert (low - zero) * 3 == pytest.approx(high - zero, abs=0.5)
    digits = column_.digits
    assert f">+{0.5:.{digits}f} (+{0.25:.{digits}f} to +{0.75:.{digits}f})</text>" in svg


def test_names_are_escaped():
    evil = "<script>alert(1)</script>"
    for svg in (
        box_plot([Box(evil, [(evil, 0.5)], None, evil)], DICE),
        agreement_plot([(evil, 1.0, 2.0)], evil, bland_altman([1.0], [2.0])),
        forest_plot([Interval(evil, 0.0, None, None, "neither")], DICE),
    ):
        assert "<script>" not in svg
