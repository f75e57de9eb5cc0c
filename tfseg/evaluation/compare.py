"""Two evaluations of the same cases, compared case by case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tfseg.errors import DataError
from tfseg.evaluation.document import VOLUMES, Comparison, Difference, Metrics
from tfseg.metrics import statistics
from tfseg.metrics.registry import METRICS

SIGNIFICANCE = 0.05  # of the two-sided test; the interval's level is its complement
_NAMED = 3


def compare(this: Metrics, other: Metrics, *, names: tuple[str, str]) -> Comparison:
    """Compare two evaluations over the cases, classes and metrics that both have.

    Args:
        this: one evaluation.
        other: the other, of the same data and by the same rules.
        names: what the two are called.

    Raises:
        DataError: the data or the rules differ, or no case is in both.
    """
    mine = {row.case: row for row in this.per_case}
    theirs = {row.case: row for row in other.per_case}
    check_rules(other, this.data, this.protocol, this.options, name=names[1])
    check_cases(mine, theirs, names=names)
    pairs = [(mine[case], theirs[case]) for case in sorted(mine.keys() & theirs.keys())]
    shared = [m for m in this.metrics if m in other.metrics and m not in VOLUMES]
    return Comparison(
        this=names[0],
        other=names[1],
        cases=len(pairs),
        only_this=sorted(mine.keys() - theirs.keys()),
        only_other=sorted(theirs.keys() - mine.keys()),
        mean_dice=_difference("dice", [(a.mean_dice, b.mean_dice) for a, b in pairs]),
        differences={
            name: {
                metric: _difference(
                    metric, [(a.scores[name][metric], b.scores[name][metric]) for a, b in pairs]
                )
                for metric in shared
            }
            for name in this.classes
            if name in other.classes
        },
        image={
            metric: _difference(metric, [(a.image[metric], b.image[metric]) for a, b in pairs])
            for metric in this.image
            if metric in other.image
        },
    )


def check_rules(
    other: Metrics, data: str, protocol: str | None, options: Mapping[str, Any], *, name: str
) -> None:
    """Refuse an evaluation whose figures mean something else than those to be made.

    Args:
        other: the evaluation.
        data: name of the data set here.
        protocol: the protocol here.
        options: the rules here, as in :attr:`Metrics.options`.
        name: what the evaluation is called.

    Raises:
        DataError: one of them differs.
    """
    for what, mine, theirs in (
        ("data set", data, other.data),
        ("protocol", protocol, other.protocol),
        *((rule, value, other.options.get(rule)) for rule, value in options.items()),
    ):
        if mine != theirs:
            raise DataError(
                f"a comparison needs figures of one data set by the same rules; {what} is "
                f"{mine} here and {theirs} in {name}. Evaluate both in the same way."
            )


def check_cases(here: Iterable[str], there: Iterable[str], *, names: tuple[str, str]) -> None:
    """Refuse to compare cases that are all different.

    Args:
        here: ids of the cases of one evaluation.
        there: ids of the cases of the other.
        names: what the two evaluations are called.

    Raises:
        DataError: no case is in both.
    """
    if not set(here) & set(there):
        raise DataError(
            f"a comparison needs cases that both have; {names[0]} has {_some(here)}, {names[1]} "
            f"has {_some(there)}. Evaluate both on the same cases."
        )


def _difference(metric: str, pairs: list[tuple[float | None, float | None]]) -> Difference:
    better = METRICS[metric].better
    if better == "near0":
        pairs = [(_magnitude(mine), _magnitude(theirs)) for mine, theirs in pairs]
    found = statistics.compare([mine for mine, _ in pairs], [theirs for _, theirs in pairs])
    return Difference(
        n=found.n,
        mean=found.mean,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p_value=found.wilcoxon_p,
        better=_verdict(found, higher=better == "higher"),
    )


def _verdict(found: statistics.Paired, *, higher: bool) -> Literal["this", "other", "neither"]:
    """Name the better one where both the interval and the test say that they differ."""
    low, high, p = found.ci_low, found.ci_high, found.wilcoxon_p
    if low is None or high is None or p is None or p >= SIGNIFICANCE or low <= 0 <= high:
        return "neither"
    return "this" if (low > 0) == higher else "other"


def _magnitude(value: float | None) -> float | None:
    return None if value is None else abs(value)


def _some(cases: Iterable[str]) -> str:
    names = sorted(cases)
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "") or "none"
