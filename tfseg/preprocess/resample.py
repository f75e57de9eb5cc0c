"""Resampling of arrays (z, y, x[, c]) between grids that share their corners."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Shape = tuple[int, int, int]

# Header rounding (strings, float32) is below this; a real change of grid is above.
_SAME_SPACING = 1e-3

# Along an axis whose voxels are so many times the smallest, cubic splines would ring through
# slices that have little to do with each other.
ANISOTROPIC = 3.0


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


def resample_cubic(
    array: NDArray[Any], shape: Shape, linear: tuple[bool, bool, bool] = (False, False, False)
) -> NDArray[np.float32]:
    """Resample to ``shape`` (z, y, x) by interpolating cubic B-splines, axis by axis, in float32.

    The image goes on mirrored at its edge voxels. Results may lie beyond the range of the input.

    Args:
        array: (z, y, x[, c]).
        shape: of the result.
        linear: the axes along which it is linear instead; see :func:`linear_axes`.
    """
    result = np.asarray(array, np.float32)
    for axis, size in enumerate(shape):
        if result.shape[axis] != size:
            along = _linear_axis if linear[axis] or result.shape[axis] == 1 else _cubic_axis
            result = along(result, size, axis)
    return result


def linear_axes(spacing_mm: tuple[float, float, float]) -> tuple[bool, bool, bool]:
    """Tell for each axis (z, y, x) whether its voxels are too coarse for cubic interpolation.

    They are where they measure more than three times the smallest of the three.
    """
    # In float32, as a server sees them: both must decide alike.
    z, y, x = (np.float32(size) for size in spacing_mm)
    limit = np.float32(ANISOTROPIC) * min(z, y, x)
    return bool(z > limit), bool(y > limit), bool(x > limit)


def resample_labels_linear(array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Resample labels to ``shape`` (z, y, x): each one's mask trilinearly, the greatest wins.

    Of equals the lowest label wins; dtype is kept. Borders get smoother than by the nearest
    voxel, structures of less than a voxel may vanish.
    """
    if array.shape == shape:
        return array
    winner = np.zeros(shape, array.dtype)
    most = np.full(shape, -1, np.float32)
    for label in np.unique(array):
        share = resample_linear(array == label, shape)
        more = share > most
        winner[more] = label
        most[more] = share[more]
    return winner


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


def _cubic_axis(array: NDArray[np.float32], size: int, axis: int) -> NDArray[np.float32]:
    coefficients = ndimage.spline_filter1d(array, 3, axis, output=np.float32, mode="mirror")
    length = array.shape[axis]
    position = source_positions(length, size)
    base = np.floor(position)
    weights = cubic_weights(position - base)
    shape = list(array.shape)
    shape[axis] = size
    result = np.zeros(shape, np.float32)
    for column, step in enumerate((-1, 0, 1, 2)):
        index = np.abs(base.astype(np.intp) + step)  # mirrored at the first voxel ...
        index = np.abs(length - 1 - np.abs(length - 1 - index))  # ... and at the last
        term = coefficients.take(index, axis=axis)
        along = [-1 if k == axis else 1 for k in range(array.ndim)]
        term *= weights[:, column].astype(np.float32).reshape(along)
        result += term
    return result


def cubic_weights(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the cubic B-splines about voxels -1, 0, 1, 2 are worth at ``share``, (n, 4).

    Args:
        share: (n,) in [0, 1], of the way from voxel 0 to voxel 1.
    """
    rest = 1 - share
    near = 2 / 3 - share**2 * (2 - share) / 2, 2 / 3 - rest**2 * (2 - rest) / 2
    return np.stack([rest**3 / 6, *near, share**3 / 6], axis=1)
