"""Label maps from one grid to another: every voxel takes the nearest, nothing is mixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.geometry import Affine

Planes = Callable[[NDArray[np.float64]], NDArray[np.intp]]
_ROUNDING = 1e-4  # of a voxel: where the grids agree, an index is a whole number but for this


def nearest(
    array: NDArray[Any],
    affine: Affine,
    target: Affine,
    shape: tuple[int, int, int],
    planes: Planes | None = None,
) -> NDArray[Any]:
    """Return ``array`` on another grid; voxels outside of it are 0.

    Args:
        array: (z, y, x[, c]).
        affine: of ``array``, voxel index to LPS mm.
        target: affine of the grid to fill.
        shape: (z, y, x) of the grid to fill.
        planes: tells which plane of ``array`` is at an index along its first axis, -1 for none;
            by default the nearest.
    """
    level_of = planes or (lambda index: _within(_whole(index), len(array)))
    result = np.zeros((*shape, *array.shape[3:]), array.dtype)
    index = np.linalg.inv(affine) @ target  # index in shape -> index in array
    axes = _axes_between(index[:3, :3], shape)
    if axes is not None:
        _fill_by_axis(array, level_of, index, axes, result)
        return result
    y, x = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    for z in range(shape[0]):  # one plane at a time bounds the memory
        height, down, right = (row[0] * z + row[1] * y + row[2] * x + row[3] for row in index[:3])
        place = (
            level_of(height),
            _within(_whole(down), array.shape[1]),
            _within(_whole(right), array.shape[2]),
        )
        inside = np.minimum.reduce(place) >= 0
        result[z][inside] = array[tuple(one[inside] for one in place)]
    return result


def _within(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    return np.where(index < size, index, -1)


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
    level_of: Planes,
    index: Affine,
    axes: NDArray[np.intp],
    result: NDArray[Any],
) -> None:
    chosen: list[NDArray[np.intp]] = []
    kept: list[NDArray[np.intp]] = [np.empty(0, np.intp)] * 3
    for own, other in enumerate(axes.tolist()):
        along = index[own, other] * np.arange(result.shape[other]) + index[own, 3]
        place = level_of(along) if own == 0 else _within(_whole(along), array.shape[own])
        inside = np.flatnonzero(place >= 0)
        kept[other] = inside
        chosen.append(place[inside])
    order = (*np.argsort(axes).tolist(), *range(3, array.ndim))
    result[np.ix_(*kept)] = array[np.ix_(*chosen)].transpose(order)
