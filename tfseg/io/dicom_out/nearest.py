"""Label maps from one grid to another: every voxel takes the nearest, nothing is mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.geometry import Affine

_ROUNDING = 1e-4  # of a voxel: where the grids agree, an index is a whole number but for this


def nearest(
    array: NDArray[Any],
    affine: Affine,
    target: Affine,
    shape: tuple[int, int, int],
    planes: NDArray[np.intp] | None = None,
) -> NDArray[Any]:
    """Return ``array`` on another grid; voxels outside of it are 0.

    Args:
        array: (z, y, x[, c]).
        affine: of ``array``, voxel index to LPS mm.
        target: affine of the grid to fill.
        shape: (z, y, x) of the grid to fill.
        planes: which plane of ``array`` each slice of its grid takes; ``None`` for each its own.
    """
    slices = np.arange(len(array)) if planes is None else planes
    size = (len(slices), *array.shape[1:3])
    result = np.zeros((*shape, *array.shape[3:]), array.dtype)
    index = np.linalg.inv(affine) @ target  # index in shape -> index in array
    axes = _axes_between(index[:3, :3], shape)
    if axes is not None:
        _fill_by_axis(array, slices, index, axes, result)
        return result
    y, x = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    for z in range(shape[0]):  # one plane at a time bounds the memory
        place = [_whole(row[0] * z + row[1] * y + row[2] * x + row[3]) for row in index[:3]]
        inside = np.logical_and.reduce(
            [(one >= 0) & (one < most) for one, most in zip(place, size, strict=True)]
        )
        level, row, column = (one[inside] for one in place)
        result[z][inside] = array[slices[level], row, column]
    return result


def _whole(index: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.floor(index + (0.5 + _ROUNDING)).astype(np.intp)


def _axes_between(
    matrix: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.intp] | None:
    """Return along which axis of the target each axis of the array runs; ``None`` if oblique."""
    axes = np.argmax(np.abs(matrix), axis=1)
    off = np.abs(matrix) * np.array(shape)
    off[np.arange(3), axes] = 0
    agree = len(set(axes.tolist())) == 3 and bool((off.sum(axis=1) < _ROUNDING).all())
    return axes if agree else None


def _fill_by_axis(
    array: NDArray[Any],
    slices: NDArray[np.intp],
    index: Affine,
    axes: NDArray[np.intp],
    result: NDArray[Any],
) -> None:
    size = (len(slices), *array.shape[1:3])
    chosen: list[NDArray[np.intp]] = []
    kept: list[NDArray[np.intp]] = [np.empty(0, np.intp)] * 3
    for own, other in enumerate(axes.tolist()):
        place = _whole(index[own, other] * np.arange(result.shape[other]) + index[own, 3])
        inside = np.flatnonzero((place >= 0) & (place < size[own]))
        kept[other] = inside
        chosen.append(place[inside])
    chosen[0] = slices[chosen[0]]
    order = (*np.argsort(axes).tolist(), *range(3, array.ndim))
    result[np.ix_(*kept)] = array[np.ix_(*chosen)].transpose(order)
