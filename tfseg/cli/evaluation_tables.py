"""The figures of ``tfseg evaluate`` as tables in a terminal, and what is to be known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from tfseg.cli.console import note, print_table
from tfseg.errors import some
from tfseg.evaluation import VOLUMES
from tfseg.report.columns import NOTHING, column, interval, number, p_value, signed, spread

if TYPE_CHECKING:
    from tfseg.evaluation import Comparison, Difference, Metrics, Statistic

_WORST_SHOWN = 5


def print_metrics(metrics: Metrics) -> None:
    """Print mean and SD of every metric and class, exceptions, and the worst cases."""
    classes = metrics.classes
    counted = "1 case" if metrics.cases == 1 else f"{metrics.cases} cases"
    by = f" by the protocol {metrics.protocol}" if metrics.protocol else ""
    # Above the table rather than as its title, which is wrapped to the table's width.
    click.echo(
        f"{metrics.data}, {metrics.source}{by}: {counted}, mean foreground Dice "
        f"{number(metrics.mean_dice, 3)}{_where_present(metrics)}"
    )
    _print_roles(metrics)
    shown = [metric for metric in metrics.metrics if metric not in VOLUMES]
    _print_crossed(
        list(classes),
        [_heading(metric, metrics.distance_unit) for metric in shown],
        lambda row, place: _spread(shown[place], classes[list(classes)[row]].metrics[shown[place]]),
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
                    number(row.mean_dice, 3),
                    *(number(row.scores[name]["dice"], 3) for name in classes),
                )
                for row in metrics.per_case[:_WORST_SHOWN]
            ],
        )


def _print_roles(metrics: Metrics) -> None:
    """Print the mean Dice of each kind of case, where a training knew some and others not."""
    found: dict[str, list[float]] = {}
    for row in metrics.per_case:
        if row.mean_dice is not None:
            found.setdefault(row.role or "", []).append(row.mean_dice)
    if len(found) > 1:
        print_table(
            "To the training these cases were",
            ["", "cases", "mean Dice"],
            [
                (role, str(len(all_)), number(sum(all_) / len(all_), 3))
                for role, all_ in found.items()
            ],
        )


def _where_present(metrics: Metrics) -> str:
    """Return what the mean is without the classes that the reference does not have."""
    if all(one.absent + one.only_prediction == 0 for one in metrics.classes.values()):
        return ""
    text = f"; {number(metrics.mean_dice_where_present, 3)} where the reference has the class"
    return f"{text} ({metrics.empty} of {metrics.cases} cases have none)" if metrics.empty else text


def print_comparison(comparison: Comparison) -> None:
    """Print the paired differences of every class and metric."""
    cases = "1 case" if comparison.cases == 1 else f"{comparison.cases} cases"
    click.echo(f"Paired over {cases}: this ({comparison.this}) less other ({comparison.other})")
    for what, left in (("this", comparison.only_this), ("other", comparison.only_other)):
        if left:
            click.echo(f"only in {what}: {some(left)}")
    rows = [("mean of classes", "dice", comparison.mean_dice)]
    rows += [
        (name, metric, difference)
        for name, found in comparison.differences.items()
        for metric, difference in found.items()
    ]
    rows += [("image", metric, difference) for metric, difference in comparison.image.items()]
    print_table(
        "",
        ["class", "metric", "difference (95 %)", "p", "n", "better"],
        [(name, metric, *_difference(metric, difference)) for name, metric, difference in rows],
    )


def _print_crossed(
    classes: Sequence[str], metrics: Sequence[str], cell: Callable[[int, int], str]
) -> None:
    """Print a table of classes and metrics; what there are fewer of runs across."""
    if len(classes) < len(metrics):
        rows = [
            (metric, *(cell(row, place) for row in range(len(classes))))
            for place, metric in enumerate(metrics)
        ]
        print_table("", ["", *classes], rows)
    else:
        rows = [
            (name, *(cell(row, place) for place in range(len(metrics))))
            for row, name in enumerate(classes)
        ]
        print_table("", ["class", *metrics], rows)


def _print_values(metrics: Metrics) -> None:
    """Print what has one value a case, or one over all cases, rather than one a class."""
    rows = [
        (_heading(metric, metrics.distance_unit), _spread(metric, statistic))
        for metric, statistic in metrics.image.items()
    ]
    rows += [(name.replace("_", " "), number(value, 3)) for name, value in metrics.overall.items()]
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
            there = number(summary.dice_where_present, 3)
            rows.append((name, *map(str, counts), there, ", ".join(left_out), ", ".join(infinite)))
    if rows:
        print_table(
            "Cases where a class is not in both maps, and values that are not defined or infinite",
            [
                "class",
                "in neither",
                "missed",
                "invented",
                "Dice where it is",
                "not defined",
                "infinite",
            ],
            rows,
        )


def _heading(metric: str, distance_unit: str) -> str:
    """Return the id, as one types it, with the unit."""
    unit = column(metric, distance_unit).unit
    return f"{metric} {unit}" if unit else metric


def _spread(metric: str, statistic: Statistic) -> str:
    return spread(statistic, column(metric, "mm").digits)


def _difference(metric: str, difference: Difference) -> tuple[str, str, str, str]:
    digits = column(metric, "mm").digits
    mean = signed(difference.mean, digits)
    if difference.ci_low is not None and difference.ci_high is not None:
        mean += f" ({interval(difference.ci_low, difference.ci_high, digits)})"
    better = NOTHING if difference.better == "neither" else difference.better
    return mean, p_value(difference.p_value), str(difference.n), better


def note_trained(metrics: Metrics, comparison: Comparison, name: str) -> None:
    """Say where a comparison is not fair: of cases that one of the two was trained on."""
    left_out = {*comparison.only_this, *comparison.only_other}
    trained = [
        row.case
        for row in metrics.per_case
        if row.role == "trained on" and row.case not in left_out
    ]
    if metrics.empty and metrics.options.get("both_empty") == "perfect":
        note(
            f"{name}: {metrics.empty} cases have none of the classes; each counts 1 where nothing "
            "is found. --both-empty nan leaves them out."
        )
    if trained:
        note(f"{name} was trained on {len(trained)} of the cases compared: {some(trained)}")


def note_gaps(metrics: Metrics, whose: str = "") -> None:
    for failure in metrics.failed:
        note(f"{whose}failed: {failure.error}")
    for what, names in (
        ("no prediction for {} cases", metrics.missing),
        ("no case for {} files", metrics.unmatched),
        ("held-out cases that are not there ({})", metrics.held_out_missing),
        ("new to the model, not measured without --all-cases ({})", metrics.new),
        ("remarks ({})", metrics.remarks),
    ):
        if names:
            note(f"{whose}{what.format(len(names))}: {some(names)}")
