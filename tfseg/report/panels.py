"""Which plots the page of an evaluation has, and what each is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from tfseg.evaluation import VOLUMES, Comparison, Metrics, Statistic
from tfseg.metrics.clinical import Agreement, bland_altman
from tfseg.report.columns import Column, column, exceptions, is_measured, number, signed
from tfseg.report.plots import (
    Box,
    Interval,
    agreement_plot,
    box_plot,
    forest_plot,
    share_curve,
)

_FEW = 5  # cases below which a curve says less than the table


@dataclass(frozen=True)
class Panel:
    """A drawing with what stands above and below it."""

    title: str
    drawing: Markup
    caption: str = ""


def distribution(metrics: Metrics) -> Panel | None:
    """Return the distribution of the cases' mean Dice, from a handful of cases on."""
    values = [row.mean_dice for row in metrics.per_case if row.mean_dice is not None]
    if len(values) < _FEW:
        return None
    # What nine in ten reach is the value that one in ten stays below.
    half, most = np.percentile(values, [50, 10])
    return Panel(
        "Mean Dice of the cases",
        share_curve(values, "mean Dice of at least"),
        f"Half of the cases reach {number(float(half), 3)}, nine in ten {number(float(most), 3)}.",
    )


def boxes(metrics: Metrics, shown: Iterable[Column]) -> list[Panel]:
    """Return a box plot for each metric that has a value in any case."""
    panels = []
    for one in shown:
        rows = [
            _box(metrics, name, summary.metrics[one.metric], one.metric)
            for name, summary in metrics.classes.items()
            if is_measured(summary, one.metric)
        ]
        if any(row.points for row in rows):
            panels.append(Panel(one.heading, box_plot(rows, one)))
    return panels


def _box(metrics: Metrics, name: str, statistic: Statistic, metric: str) -> Box:
    points = [
        (row.case, value)
        for row in metrics.per_case
        if (value := row.scores[name].get(metric)) is not None
    ]
    q1, median, q3 = statistic.q1, statistic.median, statistic.q3
    quartiles = None if q1 is None or median is None or q3 is None else (q1, median, q3)
    return Box(name, points, quartiles, exceptions(statistic))


def agreement(metrics: Metrics) -> list[Panel]:
    """Return a Bland-Altman plot of the volumes of each class that is there in any case.

    Cases that have the class in neither map are left out: they agree by having nothing to
    measure, and would pull the bias to 0.
    """
    reference, prediction = VOLUMES
    unit = column(reference, metrics.distance_unit).unit
    panels = []
    for name in metrics.classes:
        points = []
        for row in metrics.per_case:
            a, b = row.scores[name].get(reference), row.scores[name].get(prediction)
            if a is not None and b is not None and (a > 0 or b > 0):
                points.append((row.case, a, b))
        if points:
            found = bland_altman([a for _, a, _ in points], [b for _, _, b in points])
            panels.append(Panel(name, agreement_plot(points, unit, found), _agreement(found, unit)))
    return panels


def _agreement(found: Agreement, unit: str) -> str:
    counted = "1 case" if found.n == 1 else f"{found.n} cases"
    words = f"{counted}: bias {signed(found.bias, 3)} {unit}"
    if found.n == 1:
        return f"{words}."
    low, high = found.bias_ci
    return (
        f"{words} (95 % interval {signed(low, 3)} to {signed(high, 3)}), limits of agreement "
        f"{signed(found.lower, 3)} to {signed(found.upper, 3)} {unit}."
    )


def forests(metrics: Metrics, comparison: Comparison) -> list[Panel]:
    """Return a forest plot for each compared metric, volumes aside."""
    panels = []
    for metric in dict.fromkeys(m for found in comparison.differences.values() for m in found):
        one = column(metric, metrics.distance_unit)
        rows = [
            Interval(name, entry.mean, entry.ci_low, entry.ci_high, entry.better)
            for name, found in comparison.differences.items()
            if (entry := found.get(metric)) is not None and entry.mean is not None
        ]
        if rows and not one.is_volume:
            panels.append(Panel(one.heading, forest_plot(rows, one)))
    return panels
