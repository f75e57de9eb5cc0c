"""From the scores of many cases to the figures over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.evaluation.case import CaseResult
from tfseg.evaluation.document import VOLUMES, CaseRow, ClassSummary, Statistic
from tfseg.metrics.challenges import Protocol
from tfseg.metrics.statistics import bootstrap_mean

_WORST_NAMED = 3


def summarise(
    results: Sequence[CaseResult],
    protocol: Protocol | None = None,
    roles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Summarise cases: per class and metric, and per case.

    Args:
        results: one a case, all measured alike.
        protocol: what they were measured by, if by one: it adds figures over all cases.
        roles: case -> what it was to the model's training.

    Returns:
        The fields ``metrics``, ``cases``, ``mean_dice``, ``empty``, ``mean_dice_where_present``,
        ``classes``, ``image``, ``overall`` and ``per_case`` of
        :class:`tfseg.evaluation.Metrics`. Values that are not defined are left out of the
        statistics and counted.
    """
    ordered = sorted(results, key=lambda result: worst_first(result.mean_dice, result.case))
    rows = [row for result in ordered for row in result.scores.values()]
    found = dict.fromkeys(metric for row in rows for metric in row)
    metrics = sorted(found, key=lambda metric: metric in VOLUMES)
    names = dict.fromkeys(name for result in ordered for name in result.scores)
    return {
        "metrics": metrics,
        "cases": len(ordered),
        "mean_dice": _finite(_mean([result.mean_dice for result in ordered])),
        "empty": sum(not any(_has(row) for row in _classes(result)) for result in ordered),
        "mean_dice_where_present": _finite(_mean([_dice_where_present(r) for r in ordered])),
        "classes": {
            name: _class_summary({r.case: r.scores.get(name, {}) for r in ordered}, metrics)
            for name in names
        },
        "image": {
            metric: describe(result.image[metric] for result in ordered)
            for metric in dict.fromkeys(metric for result in ordered for metric in result.image)
        },
        "overall": _overall(results, protocol),
        "per_case": [
            CaseRow(
                case=result.case,
                mean_dice=_finite(result.mean_dice),
                role=(roles or {}).get(result.case),
                scores={
                    name: {
                        m: _finite(result.scores.get(name, {}).get(m, math.nan)) for m in metrics
                    }
                    for name in names
                },
                image={metric: _finite(value) for metric, value in result.image.items()},
            )
            for result in ordered
        ],
    }


def worst_first(mean_dice: float, case: str) -> tuple[float, str]:
    """Return the key that sorts cases by their Dice; those without one come last."""
    return (math.inf if math.isnan(mean_dice) else mean_dice, case)


def _classes(result: CaseResult) -> list[dict[str, float]]:
    """Return the scores of what the case's mean Dice is of."""
    return list(result.scores.values())[: result.classes]


def _has(row: Mapping[str, float]) -> bool:
    return row.get(VOLUMES[0], 0) > 0  # parts of a region that a protocol divides have no volumes


def _dice_where_present(result: CaseResult) -> float:
    return _mean([row["dice"] for row in _classes(result) if _has(row)])


def _overall(results: Sequence[CaseResult], protocol: Protocol | None) -> dict[str, float | None]:
    if protocol is None:
        return {}
    cases = {r.case: r.protocol_case for r in results if r.protocol_case is not None}
    return {name: _finite(value) for name, value in protocol.overall(cases).items()}


def describe(values: Iterable[float]) -> Statistic:
    """Return the statistic of values; NaN is counted as undefined and otherwise left out."""
    given = np.asarray(list(values), np.float64)
    defined = given[~np.isnan(given)]
    infinite = int(np.count_nonzero(np.isinf(defined)))
    finite = len(defined) > 0 and not infinite
    interval = bootstrap_mean(defined) if finite else None
    q1, median, q3 = (_quantile(defined, share) for share in (0.25, 0.5, 0.75))
    return Statistic(
        mean=float(np.mean(defined)) if finite else None,
        sd=float(np.std(defined, ddof=1)) if finite and len(defined) > 1 else None,
        median=median,
        q1=q1,
        q3=q3,
        ci_low=interval[0] if interval else None,
        ci_high=interval[1] if interval else None,
        n=len(defined),
        undefined=len(given) - len(defined),
        infinite=infinite,
    )


def _class_summary(cases: dict[str, dict[str, float]], metrics: Sequence[str]) -> ClassSummary:
    rows = list(cases.values())
    # Parts of a region that a protocol divides have no volumes.
    sizes = [[row[volume] for volume in VOLUMES] for row in rows if VOLUMES[0] in row]
    reference, prediction = np.reshape(sizes, (-1, 2)).T > 0
    by_dice = sorted(
        (case for case, row in cases.items() if not math.isnan(row.get("dice", math.nan))),
        key=lambda case: (cases[case]["dice"], case),
    )
    return ClassSummary(
        present=int(np.count_nonzero(reference)),
        dice_where_present=_finite(_mean([row["dice"] for row in rows if _has(row)])),
        absent=int(np.count_nonzero(~reference & ~prediction)),
        only_reference=int(np.count_nonzero(reference & ~prediction)),
        only_prediction=int(np.count_nonzero(~reference & prediction)),
        # A protocol measures some metrics of some regions only: the others have no values.
        metrics={
            metric: describe(row[metric] for row in rows if metric in row) for metric in metrics
        },
        worst=by_dice[:_WORST_NAMED],
    )


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _quantile(values: NDArray[np.float64], share: float) -> float | None:
    """Return a quantile, interpolated linearly; ``None`` if there is none or it is infinite."""
    if not len(values):
        return None
    ordered = np.sort(values)
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    if np.isinf(above):
        return None
    return float(below + (above - below) * (place - math.floor(place)))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
