"""How much of each class there is, and how far the two maps are apart in it.

Empty rules: a class in neither map has a difference of 0, or NaN with ``both_empty="nan"``. A
relative difference to a reference without the class is NaN. Volumes are always defined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tfseg.metrics.counts import ClassCounts, Counts
from tfseg.metrics.options import DEFAULT_OPTIONS, MetricOptions

_MM3_PER_ML = 1000.0

Sizes = NDArray[np.float64]


def volume_ml(voxels: Counts, voxel_mm3: float) -> Sizes:
    """Return the volume in ml of a number of voxels of ``voxel_mm3`` mm3 each."""
    return np.asarray(voxels * (voxel_mm3 / _MM3_PER_ML))


def volumes_ml(matrix: Counts, voxel_mm3: float) -> tuple[Sizes, Sizes]:
    """Return the volume of every class in the reference and in the prediction, in ml.

    Args:
        matrix: confusion matrix (reference, prediction), (k, k).
        voxel_mm3: volume of one voxel.
    """
    return volume_ml(matrix.sum(axis=1), voxel_mm3), volume_ml(matrix.sum(axis=0), voxel_mm3)


def volume_diff(
    counts: ClassCounts, voxel_mm3: float, options: MetricOptions = DEFAULT_OPTIONS
) -> Sizes:
    """Return the prediction's volume less the reference's, in ml; positive: too much."""
    difference = volume_ml(counts.prediction - counts.reference, voxel_mm3)
    return _unless_absent(difference, counts, options)


def avd(counts: ClassCounts, voxel_mm3: float, options: MetricOptions = DEFAULT_OPTIONS) -> Sizes:
    """Return the absolute volume difference |B - A| in ml (as in ISLES 2022)."""
    return np.abs(volume_diff(counts, voxel_mm3, options))


def rvd(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Sizes:
    """Return the relative volume difference (B - A) / A; positive: too much (Heimann 2009).

    A fraction, as in LiTS; SLIVER and CHAOS print it in %. NaN for a class that only the
    prediction has.
    """
    size = counts.reference
    difference = (counts.prediction - size) / np.maximum(size, 1)
    return _unless_absent(np.where(size == 0, np.nan, difference), counts, options)


def arvd(counts: ClassCounts, options: MetricOptions = DEFAULT_OPTIONS) -> Sizes:
    """Return |B - A| / A, the size of :func:`rvd` (WMH's "average volume difference")."""
    return np.abs(rvd(counts, options))


def _unless_absent(values: Sizes, counts: ClassCounts, options: MetricOptions) -> Sizes:
    return np.where(counts.absent, 0.0 if options.both_empty == "perfect" else np.nan, values)
