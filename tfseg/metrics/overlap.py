"""Metrics of one class against the rest that follow from its four counts.

Every function takes :class:`~tfseg.metrics.counts.ClassCounts` of k classes and returns (k,)
float64. TP, FP, FN, TN are those of the class; A is the class in the reference (TP + FN voxels),
B in the prediction (TP + FP voxels).

Empty rules. A class in neither map scores what a perfect prediction scores, or NaN with
``both_empty="nan"``. A class in only one map scores what the formula gives, 0 for ratios of
overlap; where the formula has no value, the function says which value it gets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.metrics.counts import ClassCounts
from tfseg.metrics.options import DEFAULT_OPTIONS, MetricOptions

Scores = NDArray[np.float64]


def dice(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return 2 TP / (2 TP + FP + FN), 0 to 1 (Dice 1945; equal to the F1 score)."""
    return _ratio(counts, 2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, options)


def jaccard(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return TP / (TP + FP + FN), 0 to 1 (Jaccard 1912; intersection over union)."""
    return _ratio(counts, counts.tp, counts.tp + counts.fp + counts.fn, options)


def voe(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return the volumetric overlap error 1 - Jaccard, 0 to 1 (Heimann et al. 2009)."""
    return 1.0 - jaccard(counts, options)


def sensitivity(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return TP / (TP + FN), 0 to 1: the share of the reference that was found (recall).

    A class that only the prediction has scores 0.
    """
    return _ratio(counts, counts.tp, counts.tp + counts.fn, options)


def specificity(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return TN / (TN + FP), 0 to 1: the share of the rest that was left alone.

    A reference that fills the whole map leaves nothing to reject and scores 1.
    """
    return _ratio(counts, counts.tn, counts.tn + counts.fp, options, undefined=1.0)


def precision(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return TP / (TP + FP), 0 to 1: the share of the prediction that is right.

    A class that only the reference has scores 0.
    """
    return _ratio(counts, counts.tp, counts.tp + counts.fp, options)


def accuracy(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return (TP + TN) / all voxels, 0 to 1. A small structure scores near 1 whatever is found."""
    right = counts.tp + counts.tn
    return _ratio(counts, right, right + counts.fp + counts.fn, options)


def gmean(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return sqrt(sensitivity * specificity), 0 to 1 (Kubat and Matwin 1997)."""
    return np.sqrt(sensitivity(counts, options) * specificity(counts, options))


def kappa(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return Cohen's kappa (po - pe) / (1 - pe) of class against rest, -1 to 1 (Cohen 1960).

    po is the accuracy, pe the agreement expected by chance from the two sizes. Where chance
    alone must agree (both maps hold nothing but the class), kappa is 1.
    """
    total = np.maximum(counts.tp + counts.fp + counts.fn + counts.tn, 1).astype(np.float64)
    a, b = counts.reference / total, counts.prediction / total
    by_chance = a * b + (1 - a) * (1 - b)
    observed = (counts.tp + counts.tn) / total
    return _ratio(counts, observed - by_chance, 1 - by_chance, options, undefined=1.0)


def mcc(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return Matthews' correlation of the two maps, -1 to 1 (Matthews 1975).

    (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)). A map that is constant correlates with
    nothing: 0, unless both are constant and equal, which scores 1.
    """
    tp, fp, fn, tn = (
        part.astype(np.float64) for part in (counts.tp, counts.fp, counts.fn, counts.tn)
    )
    # Root by root: the product of four counts of a large scan overflows int64.
    scale = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    equal = (fp == 0) & (fn == 0)
    return _ratio(counts, tp * tn - fp * fn, scale, options, undefined=np.where(equal, 1.0, 0.0))


def sa(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return segmentation accuracy in %, (1 - |Rs - Ts| / Rs) * 100, at most 100.

    Rs is the reference's size and |Rs - Ts| the number of wrong voxels: FP + FN with
    ``options.sa_mode`` "symdiff" (negative where more is wrong than there is), or only the
    difference of the two sizes with "area". NaN for a class that only the prediction has.
    """
    if options.sa_mode == "symdiff":
        wrong = counts.fp + counts.fn
    else:
        wrong = np.abs(counts.fp - counts.fn)
    size = counts.reference
    return 100.0 * _ratio(counts, size - wrong, size, options, undefined=np.nan)


def or_rate(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return the over-segmentation rate Os / (Rs + Os), 0 to 1; Os = FP, Rs = TP + FN."""
    return _ratio(counts, counts.fp, counts.reference + counts.fp, options, perfect=0.0)


def ur_rate(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Scores:
    """Return the under-segmentation rate Us / (Rs + Os), 0 to 1; Us = FN, Os = FP, Rs = TP + FN.

    The denominator has the over-segmented voxels, as in the over-segmentation rate, so that
    both rates and Jaccard add up to 1.
    """
    return _ratio(counts, counts.fn, counts.reference + counts.fp, options, perfect=0.0)


def _ratio(
    counts: ClassCounts,
    numerator: NDArray[Any],
    denominator: NDArray[Any],
    options: MetricOptions,
    *,
    perfect: float = 1.0,
    undefined: Any = 0.0,
) -> Scores:
    """Divide; ``undefined`` where the denominator is 0, the both-empty rule for absent classes."""
    divided = np.asarray(numerator / np.where(denominator == 0, 1, denominator), np.float64)
    values = np.where(denominator == 0, undefined, divided)
    return np.where(counts.absent, perfect if options.both_empty == "perfect" else np.nan, values)
