"""Slices that are tilted or unevenly spaced, resampled linearly onto a regular grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Correction:
    """What makes a stack of slices a regular grid.

    Attributes:
        rows, columns: size of a slice afterwards.
        row_moves: for each slice the row of it that lies at the grid's first row, or ``None``
            where rows stay; fractions are interpolated.
        column_moves: likewise for columns.
        levels: where the slices of the grid lie among those given, as fractional indices, or
            ``None`` where there is one for each.
    """

    rows: int
    columns: int
    row_moves: NDArray[np.float64] | None
    column_moves: NDArray[np.float64] | None
    levels: NDArray[np.float64] | None


def regularise(array: NDArray[Any], correction: Correction) -> NDArray[Any]:
    """Return the volume (z, y, x) on the regular grid, in the same dtype.

    Integers are rounded to the nearest. Where a shifted slice has no data, the volume's lowest
    value is taken: air in CT, nothing in MR. A grid point up to one pixel before a slice's
    first pixel takes that pixel's value; none beyond its last exists.
    """
    lowest = array.min()
    for axis, moves, size in (
        (0, correction.row_moves, correction.rows),
        (1, correction.column_moves, correction.columns),
    ):
        if moves is not None:
            shape = list(array.shape)
            shape[axis + 1] = size
            moved = np.empty(shape, array.dtype)
            for index, move in enumerate(moves):
                moved[index] = _shifted(array[index], float(move), axis, size, lowest)
            array = moved
    if correction.levels is None:
        return array
    result = np.empty((len(correction.levels), *array.shape[1:]), array.dtype)
    for index, level in enumerate(correction.levels):
        low = int(np.floor(level))
        high = min(low + 1, len(array) - 1)
        result[index] = _between(array[low], array[high], float(level) - low, array.dtype)
    return result


def _shifted(plane: NDArray[Any], first: float, axis: int, size: int, fill: Any) -> NDArray[Any]:
    """Return ``size`` rows or columns of a slice, from its fractional index ``first`` on."""
    source = first + np.arange(size)
    length = plane.shape[axis]
    inside = (source > -1) & (source <= length - 1)
    source = source[inside]
    low = np.floor(source).astype(np.intp)
    shape = (-1, 1) if axis == 0 else (1, -1)
    share = (source - low).reshape(shape)
    before = plane.take(np.clip(low, 0, length - 1), axis)
    after = plane.take(np.clip(low + 1, 0, length - 1), axis)
    rows_columns = (size, plane.shape[1]) if axis == 0 else (plane.shape[0], size)
    result = np.full(rows_columns, fill, plane.dtype)
    kept = (inside, slice(None)) if axis == 0 else (slice(None), inside)
    result[kept] = _between(before, after, share, plane.dtype)
    return result


def _between(
    before: NDArray[Any], after: NDArray[Any], share: Any, dtype: np.dtype[Any]
) -> NDArray[Any]:
    mixed = before * (1.0 - np.float64(share)) + after * np.float64(share)
    if dtype.kind in "ui":
        np.rint(mixed, out=mixed)
    return mixed.astype(dtype)
