"""Distances between planar contours, as the Sunnybrook cardiac challenge measures them.

Radau et al. 2009, "Evaluation framework for algorithms segmenting short axis cardiac MRI", The
MIDAS Journal, hdl:10380/3070.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError

GOOD_LIMIT_MM = 5.0

# Point-segment pairs worked on at a time.
_BLOCK_PAIRS = 1 << 18

Segments = NDArray[np.float64]


def avg_dist_contour(reference: Any, prediction: Any, step_mm: float = 0.5) -> float:
    """Return the average perpendicular distance of a contour from the expert's, in mm.

    Both are closed polygons. The predicted one is walked in steps of equal length; from each
    point the distance to the nearest place of the reference polygon is taken, which is the foot
    of a perpendicular unless it is a corner. Not symmetric, like the challenge's.

    Args:
        reference: (n, 2) corners in mm, in order; 3 or more.
        prediction: (m, 2) corners in mm, in order; 3 or more.
        step_mm: longest step of the walk; positive.

    Raises:
        DataError: not such arrays, or the step is not positive.
    """
    expert, other = _polygon("reference", reference), _polygon("prediction", prediction)
    if not step_mm > 0:
        raise DataError(f"step_mm must be positive; got {step_mm}.")
    return float(_to_segments(_walk(other, step_mm), expert).mean())


def avg_dist_outline(
    reference: NDArray[Any], prediction: NDArray[Any], spacing_mm: Sequence[float]
) -> float:
    """Return :func:`avg_dist_contour` of the outlines of two masks, in mm.

    The outline is the edges of the pixels between inside and outside; the distance is taken
    from the middle of each predicted edge. Slanted outlines are stairs, whose steps reach
    towards each other: up to a third of a pixel less than between the smooth contours. NaN where
    exactly one mask is empty, 0 where both are.

    Args:
        reference: boolean (y, x).
        prediction: boolean (y, x).
        spacing_mm: pixel size along y and x.

    Raises:
        DataError: the masks are not 2D or their shapes differ.
    """
    if reference.ndim != 2 or reference.shape != prediction.shape:
        raise DataError(
            "reference and prediction must be 2D masks of one shape; "
            f"got {reference.shape} and {prediction.shape}."
        )
    expert, other = (pixel_edges(mask, spacing_mm) for mask in (reference, prediction))
    if not len(expert) or not len(other):
        return 0.0 if len(expert) == len(other) else float("nan")
    distances = _to_segments(other.mean(axis=1), expert)
    return float(np.average(distances, weights=_lengths(other)))  # pixels need not be square


def good_contour_pct(distances_mm: Sequence[float], limit_mm: float = GOOD_LIMIT_MM) -> float:
    """Return the percentage of contours whose average distance is below ``limit_mm``.

    Args:
        distances_mm: one :func:`avg_dist_contour` for every expert contour; NaN or infinite for
            one that was not predicted, which is not good.
        limit_mm: 5 mm in the challenge.

    Returns:
        0 to 100; NaN without contours.
    """
    distances = np.asarray(distances_mm, np.float64)
    return float(100.0 * np.mean(distances < limit_mm)) if len(distances) else float("nan")


def pixel_edges(mask: NDArray[Any], spacing_mm: Sequence[float]) -> Segments:
    """Return the edges between a mask and its outside, (n, 2, 2) mm: ends by (y, x).

    The origin is the first pixel's centre; what lies beyond the array is outside.
    """
    padded = np.pad(mask.astype(bool), 1)
    edges = []
    for axis in (0, 1):
        ahead, behind = [slice(None)] * 2, [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        # Between pixel i and i + 1 of the padded array lies i - 0.5 of the array.
        places = np.argwhere(padded[tuple(ahead)] != padded[tuple(behind)]) - 1.0
        places[:, axis] += 0.5
        half = np.zeros(2)
        half[1 - axis] = 0.5
        edges.append(np.stack([places - half, places + half], axis=1))
    return np.concatenate(edges) * np.asarray(spacing_mm, np.float64)


def _polygon(name: str, corners: Any) -> Segments:
    points = np.asarray(corners, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise DataError(
            f"the {name} contour must be 3 or more points of 2 coordinates; got {points.shape}."
        )
    if not np.isfinite(points).all():
        raise DataError(f"the {name} contour must have finite coordinates. Repair it.")
    return np.stack([points, np.roll(points, -1, axis=0)], axis=1)


def _lengths(segments: Segments) -> NDArray[np.float64]:
    return np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)


def _walk(polygon: Segments, step_mm: float) -> NDArray[np.float64]:
    """Return points at equal distances along a closed polygon, the first corner first."""
    along = np.concatenate([[0.0], np.cumsum(_lengths(polygon))])
    places = np.linspace(0, along[-1], max(1, int(np.ceil(along[-1] / step_mm))), endpoint=False)
    corners = np.concatenate([polygon[:, 0], polygon[:1, 0]])
    return np.stack([np.interp(places, along, corners[:, axis]) for axis in (0, 1)], axis=1)


def _to_segments(points: NDArray[np.float64], segments: Segments) -> NDArray[np.float64]:
    """Return the distance (n,) of every point to the nearest place of any segment."""
    start = segments[:, 0]
    along = segments[:, 1] - start
    squared = np.maximum((along**2).sum(axis=1), np.finfo(np.float64).tiny)
    result = np.empty(len(points))
    step = max(1, _BLOCK_PAIRS // len(segments))
    for first in range(0, len(points), step):
        offset = points[first : first + step, np.newaxis] - start  # (points, segments, 2)
        share = np.clip((offset * along).sum(axis=2) / squared, 0.0, 1.0)
        foot = offset - share[..., np.newaxis] * along
        result[first : first + step] = np.sqrt((foot**2).sum(axis=2).min(axis=1))
    return result
