"""Label maps from one grid to another: every voxel takes the nearest, nothing is mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.geometry import Affine

_ROUNDING = 1e-4  # of a voxel: where the grids agree, an index is a whole number but for this


def nearest(
    array: NDArray[Any], affine: Affine, target: Affine, shape: tuple[int, int, int]
) -> NDArray[Any]:
    """Return ``array`` on another grid; voxels outside of it are 0.

    Args:
        array: (z, y, x[, c]).
        affine: of ``array``, voxel index to LPS mm.
        target: affine of the grid to fill.
        shape: (z, y, x) of the grid to fill.
    """
    result = np.zeros((*shape, *array.shape[3:]), array.dtype)
    index = np.linalg.inv(affine) @ target  # index in shape -> index in array
    if _axes_agree(index[:3, :3], shape):
        _fill_by_axis(array, index, result)
        return result
    y, x = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    for z in range(shape[0]):  # one plane at a time bounds the memory
        place = [
            np.floor(row[0] * z + row[1] * y + row[2] * x + row[3] + 0.5 + _ROUNDING).astype(
                np.intp
            )
            for row in index[:3]
        ]
        inside = np.logical_and.reduce(
            [(one >= 0) & (one < size) for one, size in zip(place, array.shape, strict=False)]
        )
        result[z][inside] = array[tuple(one[inside] for one in place)]
    return result


def _axes_agree(matrix: NDArray[np.float64], shape: tuple[int, int, int]) -> bool:
    """Tell whether axis k of one grid runs along axis k of the other, all through ``shape``."""
    off = matrix - np.diag(np.diag(matrix))
    return bool((np.abs(off) @ np.array(shape) < _ROUNDING).all())


def _fill_by_axis(array: NDArray[Any], index: Affine, result: NDArray[Any]) -> None:
    chosen, kept = [], []
    for axis in range(3):
        place = np.floor(
            index[axis, axis] * np.arange(result.shape[axis]) + index[axis, 3] + 0.5 + _ROUNDING
        ).astype(np.intp)
        inside = np.flatnonzero((place >= 0) & (place < array.shape[axis]))
        kept.append(inside)
        chosen.append(place[inside])
    result[np.ix_(*kept)] = array[np.ix_(*chosen)]
