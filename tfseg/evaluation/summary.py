"""From the scores of many cases to the figures over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfseg.evaluation.case import CaseResult
from tfseg.evaluation.document import CaseRow, ClassSummary, Statistic

_WORST_NAMED = 3
_RESAMPLES = 2000


def summarise(results: Sequence[CaseResult]) -> dict[str, Any]:
    """Summarise cases: per class and metric, and per case.

    Returns:
        The fields ``metrics``, ``cases``, ``mean_dice``, ``classes``, ``image`` and ``per_case``
        of :class:`tfseg.evaluation.Metrics`. Values that are not defined are left out of the
        statistics and counted.
    """
    ordered = sorted(results, key=_worst_first)
    names = list(results[0].scores) if results else []
    return {
        "metrics": list(results[0].scores[names[0]]) if names else [],
        "cases": len(results),
        "mean_dice": _finite(_mean([r.mean_dice for r in results])),
        "classes": {
            name: _class_summary({result.case: result.scores[name] for result in ordered})
            for name in names
        },
        "image": {
            metric: describe([result.image[metric] for result in ordered])
            for metric in (results[0].image if results else ())
        },
        "per_case": [
            CaseRow(
                case=result.case,
                mean_dice=_finite(result.mean_dice),
                scores={name: _json_values(scores) for name, scores in result.scores.items()},
                image=_json_values(result.image),
            )
            for result in ordered
        ],
    }


def describe(values: Iterable[float]) -> Statistic:
    """Return the statistic of values; NaN is counted as undefined and otherwise left out."""
    given = np.asarray(list(values), np.float64)
    defined = given[~np.isnan(given)]
    infinite = int(np.count_nonzero(np.isinf(defined)))
    finite = len(defined) > 0 and not infinite
    spread = finite and len(defined) > 1
    low, high = _interval(defined) if spread else (None, None)
    q1, median, q3 = (_quantile(defined, share) for share in (0.25, 0.5, 0.75))
    return Statistic(
        mean=float(np.mean(defined)) if finite else None,
        sd=float(np.std(defined, ddof=1)) if spread else None,
        median=median,
        q1=q1,
        q3=q3,
        ci_low=low,
        ci_high=high,
        n=len(defined),
        undefined=len(given) - len(defined),
        infinite=infinite,
    )


def _class_summary(cases: dict[str, dict[str, float]]) -> ClassSummary:
    rows = list(cases.values())
    reference = np.array([row["reference_ml"] > 0 for row in rows])
    prediction = np.array([row["prediction_ml"] > 0 for row in rows])
    by_dice = sorted(
        (case for case, row in cases.items() if not math.isnan(row["dice"])),
        key=lambda case: (cases[case]["dice"], case),
    )
    return ClassSummary(
        absent=int(np.count_nonzero(~reference & ~prediction)),
        only_reference=int(np.count_nonzero(reference & ~prediction)),
        only_prediction=int(np.count_nonzero(~reference & prediction)),
        metrics={metric: describe([row[metric] for row in rows]) for metric in rows[0]},
        worst=by_dice[:_WORST_NAMED],
    )


def _worst_first(result: CaseResult) -> tuple[float, str]:
    dice = result.mean_dice
    return (math.inf if math.isnan(dice) else dice, result.case)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _quantile(values: np.ndarray, share: float) -> float | None:
    """Return a quantile, interpolated linearly; ``None`` if there is none or it is infinite."""
    if not len(values):
        return None
    ordered = np.sort(values)
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    if np.isinf(above):
        return None
    return float(below + (above - below) * (place - math.floor(place)))


def _interval(values: np.ndarray) -> tuple[float, float]:
    drawn = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _json_values(scores: dict[str, float]) -> dict[str, float | None]:
    return {metric: _finite(value) for metric, value in scores.items()}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
