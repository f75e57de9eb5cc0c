"""Where a patch is read: one map from its voxels to a volume's, for image, label and voxel map."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.loops import read

_Real = NDArray[np.float64]
Spline = Literal["cubic", "bspline"]

_NONE = np.zeros((0, 0, 0), np.float32)


def control_points(voxels: int, grid: int, spline: Spline) -> int:
    """Return how many control points an axis of the patch has; one where nothing can bend."""
    if voxels == 1:
        return 1
    return grid if spline == "cubic" else grid + 3


def control_distance(voxels: int, grid: int, spline: Spline) -> float:
    """Return the distance of control points in voxels; a B-spline's stand at its cells' ends."""
    return (voxels - 1) / (grid - 1 if spline == "cubic" else grid)


@functools.lru_cache(maxsize=64)
def spline_weights(voxels: int, grid: int, spline: Spline) -> _Real:
    """Return what each control point is worth at each voxel, (control points, voxels).

    ``cubic``: natural cubic splines through values at ``grid`` points from the first voxel to the
    last. ``bspline``: ``grid`` cells of uniform cubic B-splines; the control points are their
    ``grid + 3`` coefficients.
    """
    if voxels == 1:
        weights = np.ones((1, 1))
    elif spline == "cubic":
        knots = np.linspace(0, voxels - 1, grid)
        splines = CubicSpline(knots, np.eye(grid), bc_type="natural")
        weights = np.ascontiguousarray(splines(np.arange(voxels)).T)
    else:
        place = np.arange(voxels) / control_distance(voxels, grid, spline)
        cell = np.minimum(place.astype(int), grid - 1)
        t = place - cell
        pieces = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3)
        weights = np.zeros((grid + 3, voxels))
        for number, piece in enumerate(pieces):
            weights[cell + number, np.arange(voxels)] = piece / 6
    weights.flags.writeable = False
    return weights


@dataclass(frozen=True)
class Field:
    """Patch voxel p is the volume's at ``middle of the box + matrix (p - middle + d(p))``.

    Attributes:
        matrix: (3, 3), in voxels.
        knots: displacement d at the control points in voxels, (3, z, y, x); ``None``: none.
        grid, spline: of the control points, see :func:`spline_weights`.
    """

    matrix: _Real
    knots: _Real | None = None
    grid: int = 3
    spline: Spline = "cubic"

    @property
    def is_crop(self) -> bool:
        """Whether the patch is a box of the volume, mirrored perhaps."""
        return self.knots is None and bool((np.abs(self.matrix) == np.eye(3)).all())

    def read(
        self, case: PreparedCase, start: Sequence[int], size: tuple[int, ...]
    ) -> list[NDArray[Any]]:
        """Return image (c, z, y, x), label (z, y, x) and, if the case has one, its voxel map.

        The image and the map are interpolated linearly, the label is the nearest voxel's. What
        lies outside the volume is 0, as at inference.
        """
        if self.is_crop:
            turn = tuple(slice(None, None, int(step)) for step in self.matrix.diagonal())
            parts = [_cut(array, start, size)[turn] for array in case.arrays]
            parts[0] = np.moveaxis(parts[0], -1, 0)
            return [np.ascontiguousarray(part) for part in parts]
        knots = np.zeros((3, 0, 0, 0))
        if self.knots is not None:
            knots = np.einsum("ij,jzyx->izyx", self.matrix, self.knots)
        values = _NONE if case.voxel_map is None else case.voxel_map
        image = np.empty((case.image.shape[3], *size), np.float32)
        label = np.empty(size, np.uint8)
        mapped = np.empty(size if values.size else (0, 0, 0), np.float32)
        weights = tuple(spline_weights(voxels, self.grid, self.spline) for voxels in size)
        centre = np.array(start) + (np.array(size) - 1) / 2
        read(case.image, case.label, values, self.matrix, centre, weights, knots,
             image, label, mapped)  # fmt: skip
        return [image, label, *([mapped] if values.size else [])]


def _cut(array: NDArray[Any], start: Sequence[int], size: tuple[int, ...]) -> NDArray[Any]:
    """Cut a box that may reach beyond the volume."""
    inside, target = [], []
    for begin, want, have in zip(start, size, array.shape[:3], strict=True):
        low, high = max(begin, 0), min(begin + want, have)
        inside.append(slice(low, high))
        target.append(slice(low - begin, high - begin))
    box = np.zeros((*size, *array.shape[3:]), array.dtype)
    box[tuple(target)] = array[tuple(inside)]
    return box
