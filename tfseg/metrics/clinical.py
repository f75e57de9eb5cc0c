"""Clinical quantities derived from segmentations, and how well two sets of them agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from tfseg.errors import DataError

# Half-width of the limits of agreement, in standard deviations: 95 % of a normal distribution.
_LIMITS_SD = 1.96

Points = Mapping[int, Sequence[float]]


def ef(end_diastolic_ml: float, end_systolic_ml: float) -> float:
    """Return the ejection fraction (EDV - ESV) / EDV, as a fraction.

    120 and 50 ml give 0.5833. NaN where the end-diastolic volume is 0; negative where the
    ventricle is larger at end-systole.
    """
    if not end_diastolic_ml > 0:
        return float("nan")
    return (end_diastolic_ml - end_systolic_ml) / end_diastolic_ml


def vertical_cdr(disc: NDArray[Any], cup: NDArray[Any]) -> float:
    """Return the vertical cup-to-disc ratio: rows the cup spans over rows the disc spans.

    Args:
        disc: boolean (y, x), the whole optic disc, cup included.
        cup: boolean of the same shape.

    Returns:
        A ratio; 0 without a cup, NaN without a disc.

    Raises:
        DataError: the masks are not 2D or their shapes differ.
    """
    if disc.ndim != 2 or disc.shape != cup.shape:
        raise DataError(
            f"disc and cup must be 2D masks of one shape; got {disc.shape} and {cup.shape}."
        )
    height = _rows_spanned(disc)
    return _rows_spanned(cup) / height if height else float("nan")


def _rows_spanned(mask: NDArray[Any]) -> int:
    rows = np.flatnonzero(mask.any(axis=1))
    return int(rows[-1] - rows[0]) + 1 if len(rows) else 0


def cdr_error(
    reference_disc: NDArray[Any],
    reference_cup: NDArray[Any],
    predicted_disc: NDArray[Any],
    predicted_cup: NDArray[Any],
) -> float:
    """Return the absolute error of the vertical cup-to-disc ratio.

    NaN where either map has no disc. The measure of REFUGE (Orlando et al. 2020,
    doi:10.1016/j.media.2019.101570).
    """
    return abs(
        vertical_cdr(predicted_disc, predicted_cup) - vertical_cdr(reference_disc, reference_cup)
    )


def corr(first: Any, second: Any) -> float:
    """Return Pearson's correlation of paired values, -1 to 1.

    NaN for fewer than two pairs, or where one side does not vary: there is no line then.

    Raises:
        DataError: different lengths, or a value is not finite.
    """
    x, y = _paired(first, second)
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return float("nan")
    return float(stats.pearsonr(x, y).statistic)


@dataclass(frozen=True)
class Agreement:
    """Bland-Altman's summary of paired differences, second minus first, in their unit.

    Attributes:
        n: pairs.
        bias: mean difference.
        sd: standard deviation of the differences (n - 1); NaN below 2 pairs.
        lower, upper: limits of agreement, bias -+ 1.96 sd.
        bias_ci, lower_ci, upper_ci: 95 % confidence intervals.
    """

    n: int
    bias: float
    sd: float
    lower: float
    upper: float
    bias_ci: tuple[float, float]
    lower_ci: tuple[float, float]
    upper_ci: tuple[float, float]


def bland_altman(first: Any, second: Any) -> Agreement:
    """Compare two measurements of the same cases.

    Bland and Altman 1999, "Measuring agreement in method comparison studies",
    doi:10.1177/096228029900800204: the variance of the bias is sd^2 / n, that of a limit
    sd^2 (1 / n + 1.96^2 / (2 (n - 1))); intervals by Student's t with n - 1 degrees of freedom.
    Everything but ``n`` is NaN without pairs; with one pair all but the bias is.

    Args:
        first: (n,) e.g. reference volumes.
        second: (n,) e.g. predicted volumes.

    Raises:
        DataError: different lengths, or a value is not finite.
    """
    x, y = _paired(first, second)
    n, nan = len(x), float("nan")
    if not n:
        return Agreement(0, nan, nan, nan, nan, (nan, nan), (nan, nan), (nan, nan))
    differences = y - x
    bias = float(differences.mean())
    if n < 2:
        return Agreement(1, bias, nan, nan, nan, (nan, nan), (nan, nan), (nan, nan))
    sd = float(differences.std(ddof=1))
    t = float(stats.t.ppf(0.975, n - 1))
    bias_reach = t * sd / math.sqrt(n)
    limit_reach = t * sd * math.sqrt(1 / n + _LIMITS_SD**2 / (2 * (n - 1)))
    lower, upper = bias - _LIMITS_SD * sd, bias + _LIMITS_SD * sd
    return Agreement(
        n,
        bias,
        sd,
        lower,
        upper,
        (bias - bias_reach, bias + bias_reach),
        (lower - limit_reach, lower + limit_reach),
        (upper - limit_reach, upper + limit_reach),
    )


def centroids_mm(labels: NDArray[Any], spacing_mm: Sequence[float]) -> dict[int, NDArray[Any]]:
    """Return the centre of mass of every label but 0, in mm from the first voxel's centre.

    Args:
        labels: integer label map.
        spacing_mm: voxel size along each axis.
    """
    boxes = ndimage.find_objects(labels)
    return {
        value: (
            np.array([part.start for part in box])
            + np.array(ndimage.center_of_mass(labels[box] == value))
        )
        * np.asarray(spacing_mm, np.float64)
        for value, box in enumerate(boxes, start=1)
        if box is not None
    }


def id_rate(reference: Points, prediction: Points, limit_mm: float = 20.0) -> float:
    """Return the share of reference landmarks that were identified, 0 to 1.

    A vertebra is identified if its predicted position is nearer to its own reference position
    than to any other's, and nearer than ``limit_mm`` (Glocker et al. 2013,
    doi:10.1007/978-3-642-40763-5_33; used by Sekuboyina et al. 2018, Btrfly Net). One that was
    not predicted is not identified; predictions without a reference do not count. NaN without
    reference landmarks.

    Args:
        reference: label -> position in mm.
        prediction: label -> position in mm.
        limit_mm: positive.
    """
    if not reference:
        return float("nan")
    names = list(reference)
    places = np.array([reference[name] for name in names], np.float64)
    hits = 0
    for index, name in enumerate(names):
        if name in prediction:
            distances = np.linalg.norm(places - np.asarray(prediction[name], np.float64), axis=1)
            hits += bool(distances[index] < limit_mm and distances[index] == distances.min())
    return hits / len(names)


def loc_error(reference: Points, prediction: Points) -> float:
    """Return the mean distance in mm between predicted and reference landmarks of one label.

    Over the labels that both have; NaN if there are none. Missing landmarks show in
    :func:`id_rate`, not here.
    """
    common = [name for name in reference if name in prediction]
    if not common:
        return float("nan")
    distances = [
        np.linalg.norm(np.subtract(prediction[name], reference[name], dtype=np.float64))
        for name in common
    ]
    return float(np.mean(distances))


def _paired(first: Any, second: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = (np.asarray(values, np.float64).reshape(-1) for values in (first, second))
    if len(x) != len(y):
        raise DataError(f"paired values must be as many on both sides; got {len(x)} and {len(y)}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("paired values must be finite. Leave out the pairs that are not defined.")
    return x, y
