"""From label maps to the distances between their surfaces, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.metrics.boundary import find_boundary
from tfseg.metrics.counts import as_bytes, wrong_label
from tfseg.metrics.nearest import nearest_distances
from tfseg.metrics.surface import SurfaceDistances


def surface_distances(
    reference: NDArray[Any], prediction: NDArray[Any], spacing_mm: Any
) -> SurfaceDistances:
    """Measure between the surfaces of two masks.

    Args:
        reference: boolean array of 1 to 3 axes.
        prediction: boolean array of the same shape.
        spacing_mm: voxel size along each array axis.

    Raises:
        DataError: shapes differ, or the spacing does not fit.
    """
    return next(class_distances(reference, prediction, 2, spacing_mm))


def class_distances(
    reference: NDArray[Any], prediction: NDArray[Any], num_classes: int, spacing_mm: Any
) -> Iterator[SurfaceDistances]:
    """Yield the distances of every foreground class, 1..k-1, of two label maps.

    The surfaces of all classes are found in one pass over each map; the distances are those of
    one class at a time.

    Args:
        reference: label map of 1 to 3 axes, integers 0..k-1.
        prediction: label map of the same shape.
        num_classes: k, the background included.
        spacing_mm: voxel size along each array axis.

    Raises:
        DataError: shapes differ, the maps have no axis or more than three, a label is not below
            k, the spacing does not fit.
    """
    first, second, _ = as_bytes(reference, prediction, num_classes)
    spacing = check_spacing(spacing_mm, first.ndim)
    if not 1 <= first.ndim <= 3:
        raise DataError(f"label maps must have 1 to 3 axes; got {first.ndim}.")
    diagonal_mm = float(np.linalg.norm(np.array(first.shape) * spacing))
    # An image is a volume of one slice; an axis of one voxel counts for nothing.
    missing = 3 - first.ndim
    shape = (1,) * missing + first.shape
    spacing = np.concatenate([np.full(missing, spacing.min()), spacing])
    a, b = (
        find_boundary(np.ascontiguousarray(labels).reshape(shape)) for labels in (first, second)
    )
    for name, found in (("reference", a), ("prediction", b)):
        if found.counts[num_classes:].any():
            raise wrong_label(name, int(np.flatnonzero(found.counts)[-1]), num_classes)
    for label in range(1, num_classes):
        yield SurfaceDistances(
            nearest_distances(a, b, label, spacing),
            nearest_distances(b, a, label, spacing),
            diagonal_mm,
        )


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
