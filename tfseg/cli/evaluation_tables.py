"""The figures of ``tfseg evaluate`` as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from tfseg.cli.console import print_table

if TYPE_CHECKING:
    from tfseg.evaluation import Comparison, Difference, Metrics, Statistic

_WORST_SHOWN = 5
_NOTHING = "-"


def print_metrics(metrics: Metrics) -> None:
    """Print mean and SD of every metric and class, exceptions, and the worst cases."""
    from tfseg.evaluation import VOLUMES

    classes = metrics.classes
    counted = "1 case" if metrics.cases == 1 else f"{metrics.cases} cases"
    by = f" by the protocol {metrics.protocol}" if metrics.protocol else ""
    # Above the table rather than as its title, which is wrapped to the table's width.
    click.echo(
        f"{metrics.data}, {metrics.source}{by}: {counted}, mean foreground Dice "
        f"{_number(metrics.mean_dice, 3)}"
    )
    shown = [metric for metric in metrics.metrics if metric not in VOLUMES]
    _print_crossed(
        list(classes),
        [_heading(metric, metrics.distance_unit) for metric in shown],
        lambda row, column: _spread(
            classes[list(classes)[row]].metrics[shown[column]], _digits(shown[column])
        ),
    )
    _print_values(metrics)
    _print_exceptions(metrics)
    if metrics.cases > 1:
        print_table(
            "Worst cases (Dice)",
            ["case", "mean", *classes],
            [
                (
                    row.case,
                    _number(row.mean_dice, 3),
                    *(_number(row.scores[name]["dice"], 3) for name in classes),
                )
                for row in metrics.per_case[:_WORST_SHOWN]
            ],
        )


def print_comparison(comparison: Comparison) -> None:
    """Print the paired differences of every class and metric."""
    cases = "1 case" if comparison.cases == 1 else f"{comparison.cases} cases"
    click.echo(f"{comparison.this} less {comparison.other}, {cases} paired:")
    for what, left in (
        (comparison.this, comparison.only_this),
        (comparison.other, comparison.only_other),
    ):
        if left:
            click.echo(f"only in {what}: {', '.join(left)}")
    names = {"this": comparison.this, "other": comparison.other, "neither": _NOTHING}
    rows = [("all classes", "mean dice", comparison.mean_dice)]
    rows += [
        (name, metric, difference)
        for name, found in comparison.differences.items()
        for metric, difference in found.items()
    ]
    rows += [("image", metric, difference) for metric, difference in comparison.image.items()]
    print_table(
        "",
        ["class", "metric", "difference", "95 % interval", "p", "n", "better"],
        [
            (name, metric, *_difference(difference), names[difference.better])
            for name, metric, difference in rows
        ],
    )


def _print_crossed(
    classes: Sequence[str], metrics: Sequence[str], cell: Callable[[int, int], str]
) -> None:
    """Print a table of classes and metrics; what there are fewer of runs across."""
    if len(classes) < len(metrics):
        print_table(
            "",
            ["", *classes],
            [
                (metric, *(cell(row, column) for row in range(len(classes))))
                for column, metric in enumerate(metrics)
            ],
        )
        return
    print_table(
        "",
        ["class", *metrics],
        [
            (name, *(cell(row, column) for column in range(len(metrics))))
            for row, name in enumerate(classes)
        ],
    )


def _print_values(metrics: Metrics) -> None:
    """Print what has one value a case, or one over all cases, rather than one a class."""
    rows = [
        (_heading(metric, metrics.distance_unit), _spread(statistic, _digits(metric)))
        for metric, statistic in metrics.image.items()
    ]
    rows += [(name.replace("_", " "), _number(value, 3)) for name, value in metrics.overall.items()]
    if rows:
        print_table("All classes", ["", "value"], rows)


def _print_exceptions(metrics: Metrics) -> None:
    """Print which classes were not in both maps of every case, and what that left undefined."""
    rows = []
    for name, summary in metrics.classes.items():
        left_out = [
            f"{metric} {statistic.undefined}"
            for metric, statistic in summary.metrics.items()
            if statistic.undefined
        ]
        infinite = [
            f"{metric} {statistic.infinite}"
            for metric, statistic in summary.metrics.items()
            if statistic.infinite
        ]
        counts = (summary.absent, summary.only_reference, summary.only_prediction)
        if any(counts) or left_out or infinite:
            rows.append((name, *map(str, counts), ", ".join(left_out), ", ".join(infinite)))
    if rows:
        print_table(
            "Cases where a class is not in both maps, and values that are not defined or infinite",
            ["class", "in neither", "missed", "invented", "not defined", "infinite"],
            rows,
        )


def _heading(metric: str, distance_unit: str) -> str:
    from tfseg.metrics.registry import METRICS

    unit = distance_unit if METRICS[metric].unit == "mm" else METRICS[metric].unit
    return f"{metric} {unit}" if unit else metric


def _digits(metric: str) -> int:
    from tfseg.metrics.registry import METRICS

    return 2 if METRICS[metric].unit else 3


def _spread(statistic: Statistic, digits: int) -> str:
    if statistic.mean is None:
        return "infinite" if statistic.infinite else _NOTHING
    spread = "" if statistic.sd is None else f" ± {statistic.sd:.{digits}f}"
    return f"{statistic.mean:.{digits}f}{spread}"


def _difference(difference: Difference) -> tuple[str, str, str, str]:
    interval = _NOTHING
    if difference.ci_low is not None and difference.ci_high is not None:
        interval = f"{difference.ci_low:+.4g} to {difference.ci_high:+.4g}"
    mean = _NOTHING if difference.mean is None else f"{difference.mean:+.4g}"
    return mean, interval, _number(difference.p_value, 3), str(difference.n)


def _number(value: float | None, digits: int) -> str:
    return _NOTHING if value is None else f"{value:.{digits}f}"
