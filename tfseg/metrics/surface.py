"""Distances between the surfaces of two objects, in mm.

The surface of an object is the set of its own voxels that touch the outside through a face:
the object minus its erosion with the 6-neighbourhood. What lies beyond the border of the
array is outside. Axes of one voxel are left out: an object in a single slice has the outline of
a 2D object, with the 4-neighbourhood. Distances are between voxel centres, exact.

That is the surface of MONAI, medpy and ITK. DeepMind's surface-distance measures between
surface elements that lie between the voxels, weighted by their area: its values differ from
these by up to a voxel, most in surface Dice at tolerances near the voxel size.

:func:`surface_distances` measures two masks once; every metric here is then arithmetic on the two
sets of distances d(A->B), from each surface voxel of the reference A to the nearest one of the
prediction B, and d(B->A).

Empty rules. Neither object has a voxel: distances are 0 and surface Dice is 1, or NaN with
``both_empty="nan"``. One has none: distances are NaN, infinite or the array's diagonal, by
``empty_distance``, and surface Dice is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError
from tfseg.metrics.options import DEFAULT_OPTIONS, MetricOptions

Distances = NDArray[np.float64]

# Relative error of a distance computed as the root of a sum of squares, generously.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Directed distances between two surfaces.

    If only one object has voxels there is nothing to measure to: its distances are infinite and
    the other's are none.

    Attributes:
        to_prediction: (n,) mm, from each surface voxel of the reference to the nearest one
            of the prediction.
        to_reference: (m,) mm, the other way round.
        diagonal_mm: length of the array's diagonal.
    """

    to_prediction: Distances
    to_reference: Distances
    diagonal_mm: float

    @property
    def together(self) -> Distances:
        """Both sets of distances, (n + m,) mm."""
        return np.concatenate([self.to_prediction, self.to_reference])


def percentile_distance(
    found: SurfaceDistances, percentile: float, options: MetricOptions = DEFAULT_OPTIONS
) -> float:
    """Return the percentile form of the Hausdorff distance, mm (Huttenlocher et al. 1993).

    ``options.hd_mode`` says how the two directions are joined. Percentiles between two distances
    are interpolated linearly.

    Args:
        found: the distances.
        percentile: 0 to 100.
        options: empty rules, mode.

    Raises:
        ConfigError: the percentile is not 0 to 100.
    """
    if not 0 <= percentile <= 100:
        raise ConfigError(f"percentile must be 0 to 100; got {percentile}.")
    if options.hd_mode == "pooled":
        return _distance(found, options, lambda: np.percentile(found.together, percentile))
    return _distance(
        found,
        options,
        lambda: max(
            np.percentile(found.to_prediction, percentile),
            np.percentile(found.to_reference, percentile),
        ),
    )


def hausdorff(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return max(max d(A->B), max d(B->A)), mm: the Hausdorff distance (Hausdorff 1914)."""
    return _distance(
        found, options, lambda: max(found.to_prediction.max(), found.to_reference.max())
    )


def hausdorff_to_prediction(
    found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS
) -> float:
    """Return max d(A->B), mm: how far the worst missed part of the reference is away."""
    return _distance(found, options, found.to_prediction.max)


def hausdorff_to_reference(
    found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS
) -> float:
    """Return max d(B->A), mm: how far the worst invented part of the prediction is away."""
    return _distance(found, options, found.to_reference.max)


def hd95(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return the 95th percentile form of the Hausdorff distance, mm."""
    return percentile_distance(found, 95.0, options)


def assd(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return (sum d(A->B) + sum d(B->A)) / (n + m), mm: average symmetric surface distance.

    The mean over all surface voxels of both objects (Heimann et al. 2009; LiTS; MONAI; medpy
    since 0.5). Older medpy gave the name to the mean of the two directed means, here :func:`msd`.
    """
    return _distance(
        found,
        options,
        lambda: (
            (found.to_prediction.sum() + found.to_reference.sum())
            / (len(found.to_prediction) + len(found.to_reference))
        ),
    )


def msd(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return (mean d(A->B) + mean d(B->A)) / 2, mm: mean surface distance.

    The mean of the two directed means. The "MSD" of the LiTS tables is the *maximum* symmetric
    surface distance: :func:`hausdorff`.
    """
    return _distance(
        found, options, lambda: (found.to_prediction.mean() + found.to_reference.mean()) / 2
    )


def ahd(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return max(mean d(A->B), mean d(B->A)), mm: average Hausdorff distance.

    Dubuisson and Jain 1994, here on surfaces; VISCERAL (Taha and Hanbury 2015) takes all voxels.
    """
    return _distance(
        found, options, lambda: max(found.to_prediction.mean(), found.to_reference.mean())
    )


def asd_to_prediction(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return mean d(A->B), mm: the directed average surface distance from the reference."""
    return _distance(found, options, found.to_prediction.mean)


def asd_to_reference(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return mean d(B->A), mm: the directed average surface distance from the prediction."""
    return _distance(found, options, found.to_reference.mean)


def rmsd(found: SurfaceDistances, options: MetricOptions = DEFAULT_OPTIONS) -> float:
    """Return sqrt((sum d(A->B)^2 + sum d(B->A)^2) / (n + m)), mm (Heimann et al. 2009)."""
    return _distance(
        found,
        options,
        lambda: np.sqrt(
            (found.to_prediction @ found.to_prediction + found.to_reference @ found.to_reference)
            / (len(found.to_prediction) + len(found.to_reference))
        ),
    )


def nsd(
    found: SurfaceDistances, tolerance_mm: float, options: MetricOptions = DEFAULT_OPTIONS
) -> float:
    """Return surface Dice at a tolerance, 0 to 1 (Nikolov et al. 2018, arXiv:1809.04430).

    The share of all surface voxels, of both objects, that have the other surface within the
    tolerance: (n(d(A->B) <= t) + n(d(B->A) <= t)) / (n + m). Every surface voxel counts the same,
    as in MONAI; the original weighs surface elements by their area. A distance that equals the
    tolerance but for rounding (three voxels of 0.8 mm and 2.4 mm) is within it.
    """
    both = found.together
    if not len(both):
        return 1.0 if options.both_empty == "perfect" else float("nan")
    return float(np.count_nonzero(both <= tolerance_mm * (1 + _ROUNDING)) / len(both))


def _distance(
    found: SurfaceDistances, options: MetricOptions, statistic: Callable[[], Any]
) -> float:
    """Return the statistic of two surfaces that both have voxels, else what the rules say."""
    there = bool(len(found.to_prediction)), bool(len(found.to_reference))
    if all(there):
        return float(statistic())
    if not any(there):
        return 0.0 if options.both_empty == "perfect" else float("nan")
    if options.empty_distance == "diag":
        return found.diagonal_mm
    return float(options.empty_distance)
