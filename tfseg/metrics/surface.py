"""Distances between the surfaces of two objects, in mm.

The surface of an object is the set of its own voxels that touch the outside through a face:
the object minus its erosion with the 6-neighbourhood. What lies beyond the border of the
array is outside. Axes of one voxel are left out: an object in a single slice has the outline of
a 2D object, with the 4-neighbourhood. Distances are between voxel centres, exact.

Memory grows with the number of surface voxels and the objects' own bounding boxes, never with
the space between them: nearest neighbours come from a k-d tree, because a distance transform
would have to span both objects. Where surface voxels fill the space between them anyway, as in
the speckle an untrained network predicts, the transform is no larger than they are, and faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from tfseg.errors import ConfigError, DataError

EmptyDistance = Literal["nan", "inf", "diag"]
Points = NDArray[np.intp]

# A distance transform is used when its box has at most this many voxels a query point. A query
# of the tree costs about as much as that many voxels of the transform, whose 12 bytes a voxel
# stay below 200 bytes a query point.
_BOX_VOX_PER_QUERY = 16


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Directed distances between two surfaces that both have voxels.

    Attributes:
        to_prediction: (n,) mm, from each surface voxel of the reference to the nearest one
            of the prediction.
        to_reference: (m,) mm, the other way round.
    """

    to_prediction: NDArray[np.float64]
    to_reference: NDArray[np.float64]

    def hausdorff(self, percentile: float = 100.0) -> float:
        """Return the larger of the two directed percentiles (100: the Hausdorff distance)."""
        return float(
            max(
                np.percentile(self.to_prediction, percentile),
                np.percentile(self.to_reference, percentile),
            )
        )


def surface_voxels(mask: NDArray[Any]) -> Points:
    """Return the indices (n, ndim) of the surface voxels of a boolean mask, in array order."""
    mask = mask.astype(bool, copy=False)
    boxes = ndimage.find_objects(mask.view(np.uint8))
    if not boxes:
        return np.empty((0, mask.ndim), np.intp)
    return _surface_in(mask[boxes[0]], boxes[0], mask.shape)


def _surface_in(
    inside: NDArray[np.bool_], box: tuple[slice, ...], shape: tuple[int, ...]
) -> Points:
    """Return array indices of the surface of an object given within its bounding box."""
    # Everything beside a bounding box is outside, and so is everything beyond the array:
    # eroding within the box, with False around it, is eroding in the array.
    interior = inside.copy()
    axes = [axis for axis, size in enumerate(shape) if size > 1] or range(len(shape))
    for axis in axes:
        ahead: list[slice] = [slice(None)] * inside.ndim
        behind = list(ahead)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        interior[tuple(behind)] &= inside[tuple(ahead)]
        interior[tuple(ahead)] &= inside[tuple(behind)]
        for edge in (0, -1):
            ahead[axis] = slice(edge, edge + 1 or None)
            interior[tuple(ahead)] = False
    return np.argwhere(inside & ~interior) + np.array([part.start for part in box], np.intp)


def surface_distances(
    reference: NDArray[Any], prediction: NDArray[Any], spacing_mm: Any
) -> SurfaceDistances | None:
    """Measure from each surface of two masks to the other; ``None`` if either mask is empty.

    Args:
        reference: boolean array.
        prediction: boolean array of the same shape.
        spacing_mm: voxel size along each array axis.

    Raises:
        DataError: shapes differ, or the spacing does not fit.
    """
    spacing = _check(reference, prediction, spacing_mm)
    return _between(surface_voxels(reference), surface_voxels(prediction), reference.shape, spacing)


def _between(
    first: Points, second: Points, shape: tuple[int, ...], spacing: NDArray[np.float64]
) -> SurfaceDistances | None:
    if not len(first) or not len(second):
        return None
    first_keys = np.ravel_multi_index(tuple(first.T), shape)
    second_keys = np.ravel_multi_index(tuple(second.T), shape)
    common = np.intersect1d(first_keys, second_keys, assume_unique=True)
    to_second, to_first = np.zeros(len(first)), np.zeros(len(second))
    apart = np.isin(first_keys, common, assume_unique=True, invert=True)
    to_second[apart] = _nearest(first[apart], second, spacing)
    apart = np.isin(second_keys, common, assume_unique=True, invert=True)
    to_first[apart] = _nearest(second[apart], first, spacing)
    return SurfaceDistances(to_second, to_first)


def _nearest(queries: Points, targets: Points, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance in mm of each query voxel to the nearest target voxel."""
    if not len(queries):
        return np.empty(0)
    low = np.minimum(queries.min(axis=0), targets.min(axis=0))
    high = np.maximum(queries.max(axis=0), targets.max(axis=0))
    box = high - low + 1
    if np.prod(box, dtype=np.float64) > _BOX_VOX_PER_QUERY * len(queries):
        tree = cKDTree(targets * spacing, balanced_tree=False)
        distances, _ = tree.query(queries * spacing)
        return distances
    elsewhere = np.ones(box, np.uint8)
    elsewhere[tuple((targets - low).T)] = 0
    nearest = ndimage.distance_transform_edt(
        elsewhere, sampling=spacing, return_distances=False, return_indices=True
    )  # (ndim, *box) int32
    at = tuple((queries - low).T)
    squared = np.zeros(len(queries))
    for axis, size_mm in enumerate(spacing):
        squared += ((nearest[axis][at] - at[axis]) * size_mm) ** 2
    return np.sqrt(squared)


def hausdorff(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    spacing_mm: Any,
    *,
    percentile: float = 100.0,
    empty_distance: EmptyDistance = "nan",
) -> float:
    """Return the Hausdorff distance of two masks in mm, or its percentile form.

    The percentile is taken of each directed set and the larger one returned; percentiles
    between two distances are interpolated linearly.

    Args:
        reference: boolean array.
        prediction: boolean array of the same shape.
        spacing_mm: voxel size along each array axis.
        percentile: 0 to 100; 100 is the maximum.
        empty_distance: the answer when exactly one mask is empty: ``nan``, ``inf``, or
            ``diag``, the array's diagonal in mm. Both empty: 0.

    Raises:
        DataError: shapes differ, or the spacing does not fit.
        ConfigError: ``percentile`` or ``empty_distance`` is none of the above.
    """
    _check_options(percentile, empty_distance)
    spacing = _check(reference, prediction, spacing_mm)
    first, second = surface_voxels(reference), surface_voxels(prediction)
    return _distance(first, second, reference.shape, spacing, percentile, empty_distance)


def hd95(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    spacing_mm: Any,
    *,
    empty_distance: EmptyDistance = "nan",
) -> float:
    """Return the larger of the two directed 95th percentiles in mm; see :func:`hausdorff`."""
    return hausdorff(
        reference, prediction, spacing_mm, percentile=95.0, empty_distance=empty_distance
    )


def hd95_per_class(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    spacing_mm: Any,
    *,
    empty_distance: EmptyDistance = "nan",
) -> NDArray[np.float64]:
    """Return :func:`hd95` of every foreground class of two label maps.

    One pass finds the bounding boxes of all classes; each class is then handled in its own.

    Args:
        reference: integer label map, 0..k-1.
        prediction: integer label map of the same shape.
        num_classes: k, the background included.
        spacing_mm: voxel size along each array axis.
        empty_distance: see :func:`hausdorff`.

    Returns:
        (k,) mm; entry 0, the background, is NaN.
    """
    _check_options(95.0, empty_distance)
    spacing = _check(reference, prediction, spacing_mm)
    result = np.full(num_classes, np.nan)
    boxes = [ndimage.find_objects(labels, num_classes - 1) for labels in (reference, prediction)]
    for value in range(1, num_classes):
        first, second = (
            np.empty((0, labels.ndim), np.intp)
            if (box := found[value - 1]) is None
            else _surface_in(labels[box] == value, box, labels.shape)
            for labels, found in zip((reference, prediction), boxes, strict=True)
        )
        result[value] = _distance(first, second, reference.shape, spacing, 95.0, empty_distance)
    return result


def _distance(
    first: Points,
    second: Points,
    shape: tuple[int, ...],
    spacing: NDArray[np.float64],
    percentile: float,
    empty_distance: EmptyDistance,
) -> float:
    found = _between(first, second, shape, spacing)
    if found is not None:
        return found.hausdorff(percentile)
    if not len(first) and not len(second):
        return 0.0
    if empty_distance == "diag":
        return float(np.linalg.norm(np.array(shape) * spacing))
    return float(empty_distance)


def _check_options(percentile: float, empty_distance: str) -> None:
    if not 0 <= percentile <= 100:
        raise ConfigError(f"percentile must be 0 to 100; got {percentile}.")
    if empty_distance not in get_args(EmptyDistance):
        raise ConfigError(
            f"empty_distance must be one of {', '.join(get_args(EmptyDistance))}; "
            f"got {empty_distance!r}."
        )


def _check(
    reference: NDArray[Any], prediction: NDArray[Any], spacing_mm: Any
) -> NDArray[np.float64]:
    if reference.shape != prediction.shape:
        raise DataError(
            f"reference and prediction must have one shape; got {reference.shape} and "
            f"{prediction.shape}. Resample one onto the other's grid."
        )
    spacing = np.asarray(spacing_mm, np.float64)
    if spacing.shape != (reference.ndim,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise DataError(
            f"spacing_mm must be {reference.ndim} positive lengths, one an array axis; "
            f"got {spacing_mm}."
        )
    return spacing
