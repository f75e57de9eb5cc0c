"""From label maps to the distances between their surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from tfseg.errors import DataError
from tfseg.metrics.options import EmptyDistance, MetricOptions
from tfseg.metrics.surface import SurfaceDistances, hd95


def surface_distances(
    reference: NDArray[Any], prediction: NDArray[Any], spacing_mm: Any
) -> SurfaceDistances:
    """Measure between the surfaces of two boolean masks of one shape."""
    return next(
        class_distances(reference.astype(np.uint8), prediction.astype(np.uint8), 2, spacing_mm)
    )


def class_distances(
    reference: NDArray[Any], prediction: NDArray[Any], num_classes: int, spacing_mm: Any
) -> Iterator[SurfaceDistances]:
    """Yield the distances of every foreground class, 1..k-1, of two label maps."""
    spacing = check_spacing(spacing_mm, reference.ndim)
    diagonal_mm = float(np.linalg.norm(np.array(reference.shape) * spacing))
    for value in range(1, num_classes):
        a, b = (
            np.argwhere(_surface(labels == value)) * spacing for labels in (reference, prediction)
        )
        yield SurfaceDistances(_nearest(a, b), _nearest(b, a), diagonal_mm)


def _surface(mask: NDArray[Any]) -> NDArray[Any]:
    flat = mask.squeeze() if mask.size > 1 else mask
    return (flat & ~ndimage.binary_erosion(flat)).reshape(mask.shape)


def _nearest(queries: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    if not len(targets):
        return np.full(len(queries), np.inf)
    if not len(queries):
        return np.empty(0)
    return cKDTree(targets, balanced_tree=False).query(queries)[0]


def check_spacing(spacing_mm: Any, ndim: int) -> NDArray[np.float64]:
    """Return the spacing as float64.

    Raises:
        DataError: it is not one positive length for every array axis.
    """
    spacing = np.asarray(spacing_mm, np.float64)
    if spacing.shape != (ndim,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise DataError(
            f"spacing_mm must be {ndim} positive lengths, one an array axis; got {spacing_mm}."
        )
    return spacing


def hd95_per_class(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    spacing_mm: Any,
    *,
    empty_distance: EmptyDistance = "nan",
) -> NDArray[np.float64]:
    """Return the HD95 of every class, (k,) mm; NaN for the background."""
    options = MetricOptions(empty_distance=empty_distance)
    found = class_distances(reference, prediction, num_classes, spacing_mm)
    return np.array([np.nan, *(hd95(each, options) for each in found)])
