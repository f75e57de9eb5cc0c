"""Voxel maps that losses take besides the labels. NumPy only: made once a case, then kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tfseg.compiled import compiled
from tfseg.errors import ConfigError, DataError

_NEGLIGIBLE = 1e-7  # a weight below this is 0


def unet_weight_map(
    labels: NDArray[Any],
    w0: float = 10.0,
    sigma: float = 5.0,
    *,
    spacing_mm: Sequence[float] | None = None,
    instances: bool = False,
    background_only: bool = False,
    ignore_index: int | None = None,
) -> NDArray[np.float32]:
    """Return w0 exp(-(d1 + d2)^2 / (2 sigma^2)): high in the gaps between touching cells.

    d1 and d2 are the distances from a voxel's centre to the nearest voxel of the nearest and of
    the second nearest cell: 0 inside the nearest one. Exact to 1e-6, at a cost that does not
    depend on the number of cells. Ronneberger et al. 2015, arXiv:1505.04597, equation 2.

    Args:
        labels: ([z,] y, x) integers, 0 is the background.
        w0: the weight where two cells touch.
        sigma: how fast it falls, in voxels; in mm where ``spacing_mm`` is given.
        spacing_mm: ([z,] y, x) voxel size; distances are in voxels without.
        instances: every label is one cell. Otherwise a cell is a connected component of one
            class; voxels that meet at a corner are connected.
        background_only: 0 inside cells, as in the authors' program. Their paper weighs all.
        ignore_index: label value that is nothing, like the background.

    Returns:
        As ``labels``, in [0, w0]. All 0 where there are fewer than two cells.

    Raises:
        ConfigError: w0, sigma or the spacing is out of range.
        DataError: the labels are not integers.
    """
    steps = _checked(labels, w0, sigma, spacing_mm)
    cells = labels.astype(np.int64)
    if ignore_index is not None:
        cells[labels == ignore_index] = 0
    if not instances:
        cells = _components(cells)
    # Beyond this the second nearest cell alone takes the weight below what counts.
    reach = sigma * math.sqrt(2 * max(math.log(max(w0, _NEGLIGIBLE) / _NEGLIGIBLE), 0.0))
    first, second = _two_nearest(cells, steps, reach)
    weights = w0 * np.exp(-np.square(first + second) / (2 * sigma**2))
    if background_only:
        weights[cells != 0] = 0
    return weights.astype(np.float32)


def _checked(
    labels: NDArray[Any], w0: float, sigma: float, spacing_mm: Sequence[float] | None
) -> tuple[float, ...]:
    if labels.dtype.kind not in "iub":
        raise DataError(f"labels must be integers; got {labels.dtype}.")
    if not (0 <= w0 < math.inf):
        raise ConfigError(f"w0 must be finite and at least 0; got {w0}.")
    if not (0 < sigma < math.inf):
        raise ConfigError(f"sigma must be finite and above 0; got {sigma}.")
    if spacing_mm is None:
        return (1.0,) * labels.ndim
    steps = tuple(float(step) for step in spacing_mm)
    if len(steps) != labels.ndim or not all(0 < step < math.inf for step in steps):
        raise ConfigError(
            f"spacing_mm must be {labels.ndim} lengths above 0, one an axis; got {steps}."
        )
    return steps


def _components(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the connected components of every class: 1, 2, ... over all classes."""
    cells = np.zeros_like(labels)
    neighbours = np.ones((3,) * labels.ndim)
    count = 0
    for value in np.unique(labels[labels != 0]):
        found, number = ndimage.label(labels == value, neighbours)
        inside = found != 0
        cells[inside] = found[inside] + count
        count += number
    return cells


def _two_nearest(
    cells: NDArray[np.int64], steps: Sequence[float], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances to the nearest and the second nearest cell, infinite beyond reach.

    One axis after the other, like a separable distance transform, but keeping two candidates of
    different cells a voxel. That loses nothing: a cell that is third at a voxel is behind the
    same two cells along every way that leads through this voxel.
    """
    squared = np.full((*cells.shape, 2), np.inf)
    squared[..., 0][cells != 0] = 0
    owner = np.zeros((*cells.shape, 2), np.int64)
    owner[..., 0] = cells
    for axis, step in enumerate(steps):
        lines = np.ascontiguousarray(np.moveaxis(squared, axis, -2))
        names = np.ascontiguousarray(np.moveaxis(owner, axis, -2))
        found, found_names = np.empty_like(lines), np.empty_like(names)
        length = lines.shape[-2]
        _spread(
            lines.reshape(-1, length, 2),
            names.reshape(-1, length, 2),
            step,
            reach,
            found.reshape(-1, length, 2),
            found_names.reshape(-1, length, 2),
        )
        squared = np.moveaxis(found, -2, axis)
        owner = np.moveaxis(found_names, -2, axis)
    distances = np.sqrt(squared)
    return distances[..., 0], distances[..., 1]


@compiled
def _spread(squared, owner, step, reach, out_squared, out_owner):  # type: ignore[no-untyped-def]
    # Spreads the two nearest cells of every voxel along its line; all arrays (lines, length, 2).
    lines, length, _ = squared.shape
    for line in range(lines):
        for here in range(length):
            near, next_near = np.inf, np.inf
            near_name, next_name = 0, 0
            for offset in range(length):
                away = (offset * step) ** 2
                # What lies further along the line can no longer be nearer.
                if away >= next_near or offset * step > reach:
                    break
                for side in range(2):
                    place = here + offset if side == 0 else here - offset
                    if place < 0 or place >= length or (side == 1 and offset == 0):
                        continue
                    for rank in range(2):
                        name = owner[line, place, rank]
                        value = squared[line, place, rank] + away
                        if name == 0 or value >= next_near:
                            continue
                        if name == near_name:
                            near = min(near, value)
                        elif value < near:
                            next_near, next_name = near, near_name
                            near, near_name = value, name
                        else:
                            next_near, next_name = value, name
            out_squared[line, here, 0], out_squared[line, here, 1] = near, next_near
            out_owner[line, here, 0], out_owner[line, here, 1] = near_name, next_name
