"""Statistics over cases: summaries with intervals, paired tests, rankings.

Values that are not defined (NaN, infinite, ``None``) are left out and counted. A result that the
data cannot give, such as the interval of a single value, is ``None``, never NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tfseg.errors import DataError

RESAMPLES = 10_000
LEVEL = 0.95

# Random indices drawn at a time: 8 MB.
_BLOCK = 1 << 20
# The smallest p that n differences can give, 2 / 2**n, is below 0.05 from 6 on.
_LEAST_PAIRS = 6
# Up to here the signed-rank test is exact: its 2**50 sign patterns are whole numbers in float64.
_EXACT_PAIRS = 50
# Equal differences of scores come out unequal in the last bits (0.9 - 0.8 and 0.8 - 0.7): tests
# see them in steps of this share of the largest score.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Summary:
    """One metric over the cases; fields are ``None`` where ``n`` is too small.

    Attributes:
        n: defined values.
        undefined: values left out.
        mean, median: from 1 value on.
        sd: sample standard deviation (n - 1), from 2 values on.
        q1, q3: quartiles, interpolated linearly; from 1 value on.
        ci_low, ci_high: bootstrap interval of the mean, from 2 values on.
    """

    n: int
    undefined: int
    mean: float | None
    sd: float | None
    median: float | None
    q1: float | None
    q3: float | None
    ci_low: float | None
    ci_high: float | None


def summarise(values: Iterable[float | None], *, seed: int = 0) -> Summary:
    """Summarise a metric's values over the cases.

    Args:
        values: any number of them.
        seed: of the bootstrap; the same seed gives the same interval.
    """
    given = _floats(values)
    kept = given[np.isfinite(given)]
    undefined = len(given) - len(kept)
    if not len(kept):
        return Summary(0, undefined, None, None, None, None, None, None, None)
    q1, median, q3 = (float(value) for value in np.percentile(kept, (25, 50, 75)))
    sd = float(kept.std(ddof=1)) if len(kept) > 1 else None
    low, high = bootstrap_mean(kept, seed=seed) or (None, None)
    return Summary(len(kept), undefined, float(kept.mean()), sd, median, q1, q3, low, high)


def bootstrap_mean(
    values: Sequence[float] | NDArray[Any],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of a mean (Efron and Tibshirani 1993, ch. 13).

    Args:
        values: finite, one a case; ``None`` is returned for fewer than 2.
        seed: the same seed gives the same interval.
        resamples: samples of n drawn with replacement.
        level: share of the resampled means between the limits, 0 to 1.
    """
    sample = np.asarray(values, np.float64)
    if len(sample) < 2:
        return None
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _BLOCK // len(sample))
    for start in range(0, resamples, step):
        part = means[start : start + step]
        part[:] = sample[generator.integers(len(sample), size=(len(part), len(sample)))].mean(1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


@dataclass(frozen=True)
class Paired:
    """Two methods on the same cases; differences are first minus second.

    Attributes:
        n: cases on which both are defined.
        excluded: cases left out because one of them is not.
        mean: mean difference; ``None`` without cases.
        ci_low, ci_high: bootstrap interval of the mean difference; ``None`` below 2 cases.
        wilcoxon_p: two-sided p, see :func:`wilcoxon_p`.
        t_p: two-sided p of Student's paired test; ``None`` below 2 cases or where the
            differences do not vary.
    """

    n: int
    excluded: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    wilcoxon_p: float | None
    t_p: float | None


def compare(
    first: Sequence[float | None], second: Sequence[float | None], *, seed: int = 0
) -> Paired:
    """Compare two methods case by case.

    Exchanging the two negates the mean and exchanges and negates the limits of the interval,
    up to the bootstrap's own rounding; the p-values stay.

    Args:
        first: one value a case.
        second: the other method's, of the same cases in the same order.
        seed: of the bootstrap.

    Raises:
        DataError: the two are not equally many.
    """
    x, y = _floats(first), _floats(second)
    if len(x) != len(y):
        raise DataError(f"paired values must be as many on both sides; got {len(x)} and {len(y)}.")
    defined = np.isfinite(x) & np.isfinite(y)
    differences = x[defined] - y[defined]
    n = len(differences)
    low, high = bootstrap_mean(differences, seed=seed) or (None, None)
    scale = max(np.abs(x[defined]).max(initial=0.0), np.abs(y[defined]).max(initial=0.0))
    steps = np.round(differences / (_ROUNDING * scale)) if scale else differences
    varies = n > 1 and np.ptp(steps) > 0
    return Paired(
        n,
        len(x) - n,
        float(differences.mean()) if n else None,
        low,
        high,
        wilcoxon_p(steps),
        float(stats.ttest_1samp(differences, 0.0).pvalue) if varies else None,
    )


def wilcoxon_p(differences: Sequence[float] | NDArray[Any]) -> float | None:
    """Return the two-sided p of Wilcoxon's signed-rank test (Wilcoxon 1945, 10.2307/3001968).

    Differences of 0 are dropped, as in the paper; if all are 0, p is 1. Equal absolute
    differences share their mean rank. The null distribution is exact up to 50 differences,
    with ties or without, and normal with a correction for ties beyond.

    Args:
        differences: finite, one a case.

    Returns:
        p, or ``None`` for fewer than 6 cases: whatever they are, p cannot fall below 0.05.
    """
    given = np.asarray(differences, np.float64)
    if len(given) < _LEAST_PAIRS:
        return None
    kept = given[given != 0]
    if not len(kept):
        return 1.0
    if len(kept) <= _EXACT_PAIRS:
        return _exact_p(kept)
    return float(stats.wilcoxon(kept, method="asymptotic").pvalue)


def _exact_p(differences: NDArray[np.float64]) -> float:
    """Count the sign patterns that are as extreme, by the sum of their positive ranks."""
    # Ties have half ranks: twice the ranks are whole numbers, and so are their sums.
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(np.int64)
    patterns = np.ones(1)  # [s] sign patterns of the ranks so far whose positive ones add up to s
    for rank in ranks:
        longer = np.zeros(len(patterns) + rank)
        longer[: len(patterns)] += patterns  # with a negative sign
        longer[rank:] += patterns  # with a positive sign
        patterns = longer
    found = int(ranks[differences > 0].sum())
    tail = min(patterns[: found + 1].sum(), patterns[found:].sum())
    return float(min(1.0, 2 * tail / patterns.sum()))


@dataclass(frozen=True)
class Ranking:
    """Several methods ranked on the same cases.

    Attributes:
        mean_ranks: method -> mean rank over the cases, 1 is best; best first.
        n: cases on which every method is defined.
        excluded: cases left out because one is not.
        p_value: of Friedman's test that all methods rank alike; ``None`` for fewer than 3
            methods or 2 cases, or where every case is a complete tie.
    """

    mean_ranks: dict[str, float]
    n: int
    excluded: int
    p_value: float | None


def rank_methods(
    scores: Mapping[str, Sequence[float | None]], *, better: Literal["higher", "lower"]
) -> Ranking:
    """Rank methods case by case and average the ranks (rank, then aggregate).

    Equal values share their mean rank. Friedman 1937, 10.1080/01621459.1937.10503522, with the
    correction for ties. Without a case on which all are defined the ranks are empty.

    Args:
        scores: method -> one value a case, cases in one order.
        better: which values are good.

    Raises:
        DataError: no method, or not equally many values each.
    """
    lengths = {len(values) for values in scores.values()}
    if len(lengths) != 1:
        raise DataError(
            "a ranking needs one value a case from every method; "
            f"got {', '.join(f'{len(v)} from {k}' for k, v in scores.items()) or 'no method'}."
        )
    table = np.array([_floats(values) for values in scores.values()])  # (methods, cases)
    defined = np.isfinite(table).all(axis=0)
    kept = table[:, defined] * (1 if better == "lower" else -1)
    n, excluded = int(defined.sum()), int((~defined).sum())
    if not n:
        return Ranking({}, 0, excluded, None)
    ranks = stats.rankdata(kept, axis=0)  # (methods, cases)
    means = {name: float(mean) for name, mean in zip(scores, ranks.mean(axis=1), strict=True)}
    testable = len(scores) >= 3 and n >= 2 and bool((np.ptp(ranks, axis=0) > 0).any())
    p_value = float(stats.friedmanchisquare(*kept).pvalue) if testable else None
    return Ranking(dict(sorted(means.items(), key=lambda item: item[1])), n, excluded, p_value)


def _floats(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
