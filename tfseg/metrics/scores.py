"""Challenge scores that compare errors with those of a human observer.

All have one shape (van Ginneken, Heimann, Styner 2007, "3D segmentation in the clinic: a grand
challenge"): no error scores 100, an observer's error scores a fixed number of points, the line
through both goes on, and nothing scores below 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError

_PERFECT = 100.0
_PROMISE_OBSERVER = 85.0
_SKI10_OBSERVER = 75.0


def observer_score(error: float, observer_error: float, observer_points: float) -> float:
    """Return ``max(0, 100 - (100 - observer_points) * error / observer_error)``.

    Args:
        error: not negative; 0 is perfect. NaN or infinite (no segmentation to measure) scores 0.
        observer_error: the observer's error in the same unit; positive.
        observer_points: what the observer scores, 0 up to but not including 100.

    Raises:
        ConfigError: the observer's error or points are out of range.
    """
    if not (observer_error > 0 and math.isfinite(observer_error)):
        raise ConfigError(f"an observer's error must be positive; got {observer_error}.")
    if not 0 <= observer_points < _PERFECT:
        raise ConfigError(f"an observer's points must be 0 to below 100; got {observer_points}.")
    if not math.isfinite(error):
        return 0.0
    return max(0.0, _PERFECT - (_PERFECT - observer_points) * error / observer_error)


@dataclass(frozen=True)
class ObserverErrors:
    """A second observer's mean errors on one part of the prostate.

    Attributes:
        dice: 1 - Dice.
        hd95: 95th percentile Hausdorff distance in mm.
        assd: average boundary distance in mm.
        arvd: absolute relative volume difference, as a fraction.
    """

    dice: float
    hd95: float
    assd: float
    arvd: float


# ASSUMED. The organisers' own table of the second observer could not be obtained; these round
# numbers put the challenge's published winners (Dice 0.88, HD95 5.9 mm: 84.4 points) near 85.
# Scores therefore compare runs with each other, not with the leaderboard. Pass the real table
# as `observer` where you have it.
PROMISE_OBSERVER: Mapping[str, ObserverErrors] = {
    "prostate": ObserverErrors(dice=0.12, hd95=6.0, assd=2.0, arvd=0.08),
    "apex": ObserverErrors(dice=0.20, hd95=6.0, assd=2.2, arvd=0.15),
    "base": ObserverErrors(dice=0.20, hd95=6.0, assd=2.2, arvd=0.15),
}


def promise_score(
    parts: Mapping[str, Mapping[str, float]],
    observer: Mapping[str, ObserverErrors] = PROMISE_OBSERVER,
) -> float:
    """Return the PROMISE12 score of a case, 0 to 100.

    The mean of twelve :func:`observer_score`, with 85 points for the second observer: Dice, 95th
    percentile Hausdorff distance, average boundary distance and absolute relative volume
    difference of the whole prostate, its apical third and its basal third (Litjens et al. 2014,
    doi:10.1016/j.media.2013.12.002). A distance that is not defined, because a part was not
    segmented at all, scores 0.

    Args:
        parts: ``prostate``, ``apex`` and ``base``, each with ``dice``, ``hd95``, ``assd`` and
            ``arvd``.
        observer: the second observer's errors by part. The default is an assumption, see
            :data:`PROMISE_OBSERVER`.
    """
    points = []
    for part, human in observer.items():
        found = parts[part]
        errors = (1.0 - found["dice"], found["hd95"], found["assd"], found["arvd"])
        bounds = (human.dice, human.hd95, human.assd, human.arvd)
        points += [
            observer_score(error, bound, _PROMISE_OBSERVER)
            for error, bound in zip(errors, bounds, strict=True)
        ]
    return float(np.mean(points))


def promise_thirds(reference: NDArray[Any]) -> dict[str, slice]:
    """Return the slices of the apical and the basal third of a prostate.

    The reference's own slices are divided by three, rounded to the nearest; what a prediction
    has below or above the reference belongs to the third beside it.

    Args:
        reference: boolean mask (z, y, x), slices from feet to head: the apex comes first.

    Returns:
        ``apex`` and ``base`` -> slices along z. An empty reference has empty thirds.
    """
    occupied = np.flatnonzero(reference.any(axis=tuple(range(1, reference.ndim))))
    if not len(occupied):
        return {"apex": slice(0, 0), "base": slice(0, 0)}
    first, last = int(occupied[0]), int(occupied[-1])
    third = round((last - first + 1) / 3)
    return {"apex": slice(0, first + third), "base": slice(last + 1 - third, len(reference))}


def ski10_score(errors: Mapping[str, float], observer: Mapping[str, float]) -> float:
    """Return the SKI10 score of a knee, 0 to 100: the mean of :func:`observer_score`.

    A second rater scores 75. The challenge measures average and root mean square surface
    distance of both bones, and volumetric overlap error and volume difference of both
    cartilages (Heimann et al. 2010, "Segmentation of knee images: a grand challenge"). Its table
    of the second rater is not public, so it has no default here.

    Args:
        errors: measure -> absolute error; NaN or infinite scores 0.
        observer: the same measures -> the second rater's error.

    Raises:
        ConfigError: the two do not name the same measures.
    """
    if set(errors) != set(observer) or not errors:
        raise ConfigError(
            f"errors and observer must name the same measures; got {sorted(errors)} and "
            f"{sorted(observer)}."
        )
    return float(
        np.mean(
            [observer_score(abs(errors[name]), observer[name], _SKI10_OBSERVER) for name in errors]
        )
    )
