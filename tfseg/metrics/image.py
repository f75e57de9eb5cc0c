"""Metrics of a whole label map: one number over all classes, the background included.

Every function takes the confusion matrix (reference, prediction), (k, k), and returns a float.
Classes that neither map has do not count. A matrix of no voxels (a mask of nothing) scores 1,
or NaN with ``both_empty="nan"``.
"""

from __future__ import annotations

import numpy as np

from tfseg.metrics.counts import ClassCounts, Counts
from tfseg.metrics.options import DEFAULT_OPTIONS, MetricOptions
from tfseg.metrics.overlap import jaccard, sensitivity


def pixel_acc(matrix: Counts, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return the share of voxels with the right label, 0 to 1 (Long et al. 2015)."""
    total = int(matrix.sum())
    return float(np.trace(matrix) / total) if total else _nothing(options)


def mean_acc(matrix: Counts, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return the mean sensitivity of the reference's classes, 0 to 1 (Long et al. 2015)."""
    counts = ClassCounts.of(matrix)
    there = counts.reference > 0
    return float(sensitivity(counts)[there].mean()) if there.any() else _nothing(options)


def mean_iou(matrix: Counts, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return the mean Jaccard of the classes in either map, 0 to 1 (Long et al. 2015)."""
    counts = ClassCounts.of(matrix)
    there = ~counts.absent
    return float(jaccard(counts)[there].mean()) if there.any() else _nothing(options)


def fw_iou(matrix: Counts, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return the mean Jaccard weighted by the class's share of the reference (Long et al. 2015)."""
    counts = ClassCounts.of(matrix)
    if not matrix.sum():
        return _nothing(options)
    return float(np.average(jaccard(counts), weights=counts.reference))


def kappa_image(matrix: Counts, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return Cohen's kappa over all classes, -1 to 1 (Cohen 1960).

    (po - pe) / (1 - pe), with po the share of voxels with the right label and pe the sum over
    the classes of the product of the two maps' shares. Two maps of one same label score 1.
    """
    total = float(matrix.sum())
    if not total:
        return _nothing(options)
    by_chance = float(matrix.sum(axis=0) / total @ (matrix.sum(axis=1) / total))
    observed = float(np.trace(matrix)) / total
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0


def _nothing(options: MetricOptions) -> float:
    return 1.0 if options.both_empty == "perfect" else float("nan")
