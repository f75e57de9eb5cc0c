"""The plots of an evaluation's page: each a drawing of one metric or one class.

Colour only groups what position and words already tell, so they read the same with any colour
vision and in grey. Each is narrow enough for a phone; the page sets them side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tfseg.metrics.clinical import Agreement
from tfseg.report.columns import Column, signed
from tfseg.report.svg import Scale, drawing, element, fit, line, text

Points = Sequence[tuple[str, float]]  # (case, value)

_WIDTH = 380.0
_EDGE = 16.0  # room for half a tick's label
_DOT = 2.1
_MANY = 100  # cases
_AXIS = 34.0  # room below a plot for ticks and the axis's title
_GOLDEN = 0.6180339887498949  # its multiples modulo 1 spread dots evenly, in any number
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Box:
    """One row of a box plot.

    Attributes:
        name: of the class.
        points: (case, value) of every case with a finite value.
        quartiles: first, second and third; ``None`` where they are not finite.
        remark: counts that the dots do not tell, in a few words.
    """

    name: str
    points: Points
    quartiles: tuple[float, float, float] | None
    remark: str = ""

    @property
    def whiskers(self) -> tuple[float, float]:
        """The furthest values within 1.5 box lengths of the box; without a box, all values."""
        values = [value for _, value in self.points]
        if self.quartiles is None:
            return min(values), max(values)
        q1, _, q3 = self.quartiles
        reach = 1.5 * (q3 - q1)
        inside = [value for value in values if q1 - reach <= value <= q3 + reach]
        # Interpolated quartiles need not be values, so a whisker might end within the box.
        return min([*inside, q1]), max([*inside, q3])


def box_plot(boxes: Sequence[Box], column: Column) -> Markup:
    """Draw a metric: for each class a box, whiskers, every case as a dot, the worst one named.

    The box spans the quartiles with a line at the median; for the whiskers see
    :attr:`Box.whiskers` (Tukey 1977). Each dot has its case's name; of very many cases, which
    would make the page slow, only those beyond the whiskers do.
    """
    row, strip, start = 58.0, 18.0, 4.0
    values = [value for box in boxes for _, value in box.points]
    x = Scale.around(values, _EDGE, _WIDTH - _EDGE)
    bottom = start + row * len(boxes)
    content = _x_axis(x, start, bottom, column.heading)
    for index, box in enumerate(boxes):
        top = start + row * index
        count = f"n = {len(box.points)}" + (f", {box.remark}" if box.remark else "")
        room = _WIDTH - 2 * _EDGE - 6 * len(count)
        content += [
            text(_EDGE, top + 12, fit(box.name, room, 12), "name"),
            text(_WIDTH - _EDGE, top + 12, count, "soft", "end"),
        ]
        if box.points:
            content += _row(box, x, top + 17 + strip / 2, strip, column)
    label = f"Box plot of {column.heading}, class by class; the figures are in the tables."
    return drawing(_WIDTH, bottom + _AXIS, label, content)


def _row(box: Box, x: Scale, middle: float, strip: float, column: Column) -> list[Markup]:
    low, high = box.whiskers
    content = []
    if box.quartiles is not None and len(box.points) > 1:
        q1, median, q3 = box.quartiles
        top, bottom = middle - strip / 2, middle + strip / 2
        wide = max(x(q3) - x(q1), 0.5)
        content = [
            line(x(low), middle, x(q1), middle, "whisker"),
            line(x(q3), middle, x(high), middle, "whisker"),
            element("rect", x=x(q1), y=top, width=wide, height=strip, class_="box"),
            line(x(median), top, x(median), bottom, "median"),
        ]
    ordered = sorted(box.points, key=lambda point: (point[1], point[0]))
    spread = strip - 4 if len(ordered) > 1 else 0.0
    named, crowd = [], []
    for index, (case, value) in enumerate(ordered):
        y = middle + spread * ((index * _GOLDEN) % 1 - 0.5)
        if len(ordered) <= _MANY or not low <= value <= high:
            named.append(_dot(x(value), y, f"{case}: {column.write(value)}"))
        else:
            crowd.append(f"M{x(value):.1f} {y:.1f}h0")
    if crowd:
        content.append(element("path", d="".join(crowd), class_="crowd", stroke_width=2 * _DOT))
    content.append(element("g", *named, class_="dots"))
    case, value = max(ordered, key=lambda point: column.badness(point[1]))
    name = f"{case}: {column.write(value)}"
    return [*content, _named(name, x(value), middle + strip / 2 + 10)]


def _named(words: str, at: float, baseline: float) -> Markup:
    """Return a dot's name below it, reaching to the side with more room."""
    if at < _WIDTH / 2:
        place = max(_EDGE, at - 3)
        return text(place, baseline, fit(words, _WIDTH - place, 10), "soft small")
    place = min(_WIDTH - _EDGE, at + 3)
    return text(place, baseline, fit(words, place, 10), "soft small", "end")


def agreement_plot(
    points: Sequence[tuple[str, float, float]], unit: str, agreement: Agreement
) -> Markup:
    """Draw the differences of two measurements over their means (Bland and Altman 1986).

    Args:
        points: (case, reference, prediction).
        unit: of both.
        agreement: of prediction - reference; a single case has no limits.
    """
    height, start, right = 190.0, 8.0, _WIDTH - 96
    levels = [("bias", agreement.bias, "bias")]
    if agreement.n > 1:
        levels += [
            ("+1.96 SD", agreement.upper, "limit"),
            (f"{_MINUS}1.96 SD", agreement.lower, "limit"),
        ]
    differences = [prediction - reference for _, reference, prediction in points]
    x = Scale.around([(a + b) / 2 for _, a, b in points], 52.0, right, 4)
    y = Scale.around([0.0, *differences, *(value for _, value, _ in levels)], start + height, start)
    content = _x_axis(x, start, start + height, f"mean of both ({unit})")
    for value, words in y.ticks():
        content += [
            line(52, y(value), right, y(value), "grid"),
            text(46, y(value) + 3.5, words, "soft small", "end"),
        ]
    content.append(
        element(
            "text",
            f"prediction {_MINUS} reference ({unit})",
            x=0,
            y=0,
            class_="soft",
            text_anchor="middle",
            transform=f"translate(11 {start + height / 2}) rotate(-90)",
        )
    )
    content.append(line(52, y(0), right, y(0), "zero"))
    digits = _digits(y)
    places = _apart([y(value) for _, value, _ in levels])
    for (words, value, style), place in zip(levels, places, strict=True):
        content += [
            line(52, y(value), right, y(value), style),
            text(right + 5, place + 3.5, f"{words}: {signed(value, digits)}", f"{style} small"),
        ]
    dots = [
        _dot(
            x((reference + prediction) / 2),
            y(prediction - reference),
            f"{case}: {signed(prediction - reference, digits)} {unit}",
        )
        for case, reference, prediction in points
    ]
    content.append(element("g", *dots, class_="dots"))
    label = f"Bland-Altman plot of {len(points)} cases; bias and limits are below it."
    return drawing(_WIDTH, start + height + _AXIS, label, content)


def _apart(places: list[float], gap: float = 12.0) -> list[float]:
    """Move the second label up and the third down until they are clear of the first."""
    if len(places) == 1:
        return places
    first, upper, lower = places
    return [first, min(upper, first - gap), max(lower, first + gap)]


def share_curve(values: Sequence[float], title: str) -> Markup:
    """Draw what share of the cases reaches at least each value."""
    height, start, left = 130.0, 8.0, 46.0
    x = Scale.around([*values, 1.0], left, _WIDTH - _EDGE)
    y = Scale(0.0, 100.0, start + height, start, 25.0)
    content = _x_axis(x, start, start + height, title)
    for value, words in y.ticks():
        content += [
            line(left, y(value), _WIDTH - _EDGE, y(value), "grid"),
            text(left - 6, y(value) + 3.5, f"{words} %", "soft small", "end"),
        ]
    steps = [
        f"H{x(value):.1f}V{y(100 * (1 - rank / len(values))):.1f}"
        for rank, value in enumerate(sorted(values), start=1)
    ]
    path = f"M{x(x.low):.1f} {y(100):.1f}" + "".join(steps)
    content.append(element("path", d=path, class_="curve"))
    label = f"Share of {len(values)} cases that reach at least a {title}."
    return drawing(_WIDTH, start + height + _AXIS, label, content)


@dataclass(frozen=True)
class Interval:
    """One row of a forest plot: a mean difference with its interval, and which side it favours."""

    name: str
    mean: float
    low: float | None
    high: float | None
    better: str


def forest_plot(rows: Sequence[Interval], column: Column) -> Markup:
    """Draw paired differences of a metric, class by class, around the line of no difference.

    Metrics that are best near 0 are compared by their magnitude, so less is better.
    """
    row, start = 36.0, 18.0
    ends = [v for r in rows for v in (r.mean, r.low, r.high) if v is not None]
    reach = max((abs(value) for value in ends), default=0.0) or 1.0
    x = Scale.around([-reach, reach], _EDGE, _WIDTH - _EDGE, 4)
    bottom = start + row * len(rows)
    sides = ("other", "this") if column.info.better == "higher" else ("this", "other")
    content = [
        *_x_axis(x, start, bottom, f"{column.heading}, this {_MINUS} other"),
        line(x(0), start, x(0), bottom, "zero"),
        text(_EDGE, 11, f"\N{LEFTWARDS ARROW} {sides[0]} better", "soft small"),
        text(_WIDTH - _EDGE, 11, f"{sides[1]} better \N{RIGHTWARDS ARROW}", "soft small", "end"),
    ]
    for index, entry in enumerate(rows):
        top = start + row * index
        words = signed(entry.mean, column.digits)
        if entry.low is not None and entry.high is not None:
            words += f" ({signed(entry.low, column.digits)} to {signed(entry.high, column.digits)})"
            content.append(
                line(x(entry.low), top + 25, x(entry.high), top + 25, f"interval {entry.better}")
            )
        room = _WIDTH - 2 * _EDGE - 6 * len(words)
        content += [
            text(_EDGE, top + 13, fit(entry.name, room, 12), "name"),
            text(_WIDTH - _EDGE, top + 13, words, "soft", "end"),
            element(
                "rect",
                x=x(entry.mean) - 4,
                y=top + 21,
                width=8,
                height=8,
                class_=f"mean {entry.better}",
            ),
        ]
    label = f"Forest plot of paired differences in {column.heading}; the figures are in the table."
    return drawing(_WIDTH, bottom + _AXIS, label, content)


def _x_axis(x: Scale, top: float, bottom: float, title: str) -> list[Markup]:
    content = []
    for value, words in x.ticks():
        content += [
            line(x(value), top, x(value), bottom, "grid"),
            text(x(value), bottom + 13, words, "soft small", "middle"),
        ]
    middle = (x.start + x.end) / 2
    return [*content, text(middle, bottom + 28, title, "soft", "middle")]


def _dot(x: float, y: float, words: str) -> Markup:
    return element("circle", element("title", words), cx=x, cy=y, r=_DOT)


def _digits(scale: Scale) -> int:
    """Return the digits that tell a hundredth of a scale's length apart."""
    return max(0, 2 - math.floor(math.log10(scale.high - scale.low)))
