"""Resampling of arrays (z, y, x[, c]) between grids that share their corners."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]

# Header rounding (strings, float32) is below this; a real change of grid is above.
_SAME_SPACING = 1e-3


def resampled_shape(
    shape: Shape, spacing_mm: tuple[float, float, float], target_mm: tuple[float, float, float]
) -> Shape:
    """Return the size (z, y, x) that keeps the extent: n * spacing / target, at least 1."""
    sizes = []
    for size, source, target in zip(shape, spacing_mm, target_mm, strict=True):
        # Spacing travels to servers as float32: round it here too, so that sizes agree.
        ratio = float(np.float64(np.float32(source)) / target)
        keep = abs(ratio - 1) < _SAME_SPACING
        sizes.append(size if keep else max(1, int(np.round(size * ratio))))
    return sizes[0], sizes[1], sizes[2]


def source_positions(size_in: int, size_out: int) -> NDArray[np.float64]:
    """Return where each of ``size_out`` voxel centres lies on an axis of ``size_in`` voxels.

    Half-pixel centres: both grids cover the same extent. Positions are in voxels of the source,
    clipped to [0, size_in - 1].
    """
    position = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    return np.clip(position, 0, size_in - 1)


def resample_linear(array: NDArray[Any], shape: Shape) -> NDArray[np.float32]:
    """Resample trilinearly to ``shape`` (z, y, x), axis by axis, in float32."""
    result = np.asarray(array, np.float32)
    for axis, size in enumerate(shape):
        if result.shape[axis] != size:
            result = _linear_axis(result, size, axis)
    return result


def resample_nearest(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Resample to ``shape`` (z, y, x) by the nearest voxel; values and dtype are kept."""
    result = array
    for axis, size in enumerate(shape):
        if result.shape[axis] != size:
            nearest = np.floor(source_positions(result.shape[axis], size) + 0.5).astype(np.intp)
            result = result.take(nearest, axis=axis)
    return result


def _linear_axis(array: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    position = source_positions(array.shape[axis], size)
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, array.shape[axis] - 1)
    weight = (position - low).astype(np.float32)
    weight = weight.reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    below = array.take(low, axis=axis)
    step = array.take(high, axis=axis)
    step -= below
    step *= weight
    step += below
    return step
