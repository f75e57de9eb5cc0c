"""Where voxels are: affines, spacing, orientation. Pure functions on small arrays.

One convention inside tfseg: an affine is 4x4 float64 and maps the homogeneous voxel index
``(z, y, x, 1)``, in array order, to millimetres in the patient frame **LPS** (x to the
patient's Left, y to the Posterior, z to the Superior), the frame of DICOM PS3.3 C.7.6.2.1.1
and of ITK. NIfTI's frame is RAS and its index order is (x, y, z): :func:`affine_from_ras_xyz`
and :func:`affine_to_ras_xyz` convert, exactly (sign flips and column swaps only).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError, DataError

Affine = NDArray[np.float64]
Spacing = tuple[float, float, float]

CANONICAL = "SPL"  # what array axes z, y, x run to: Superior, Posterior, Left

_FURTHEST_MM = 1e6  # a kilometre
_THINNEST_MM = 1e-9  # a thousandth of a nanometre
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_WORLD = ("LR", "PA", "SI")  # along and against the axes of LPS


def affine_from_geometry(spacing_mm: Any, origin_mm: Any, direction: Any) -> Affine:
    """Compose an affine.

    Args:
        spacing_mm: voxel size (z, y, x), positive.
        origin_mm: LPS position (x, y, z) of the centre of voxel (0, 0, 0).
        direction: 3x3; column k is the LPS unit vector of array axis k (z, y, x).
    """
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(direction, float) * np.asarray(spacing_mm, float)
    affine[:3, 3] = origin_mm
    return affine


def spacing_of(affine: Affine) -> Spacing:
    """Return the voxel size in mm (z, y, x): the lengths of the affine's columns."""
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z), float(y), float(x)


def direction_of(affine: Affine) -> Affine:
    """Return the 3x3 matrix of unit vectors; it is orthonormal unless the grid is sheared."""
    return np.asarray(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))


def affine_from_ras_xyz(affine: Any) -> Affine:
    """Convert a NIfTI affine, (x, y, z) index to RAS mm, to tfseg's."""
    lps = _LPS_RAS @ np.asarray(affine, np.float64)
    return np.asarray(lps[:, [2, 1, 0, 3]])


def affine_to_ras_xyz(affine: Affine) -> Affine:
    """Convert tfseg's affine to NIfTI's: (x, y, z) index to RAS mm."""
    return np.asarray((_LPS_RAS @ affine)[:, [2, 1, 0, 3]])


def check_affine(affine: Any, what: str) -> Affine:
    """Return ``affine`` as float64 after checking that it places voxels in space.

    Raises:
        DataError: not 4x4, not finite, beyond a kilometre, last row not (0, 0, 0, 1), or singular.
    """
    matrix = np.array(affine, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise DataError(f"{what}: the affine must be 4x4 and finite. Repair the header.")
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise DataError(f"{what}: the affine's last row must be 0 0 0 1; got {matrix[3]}.")
    if np.abs(matrix).max() > _FURTHEST_MM:
        raise DataError(
            f"{what}: the affine places voxels {np.abs(matrix).max():.3g} mm apart or away; no "
            "scan is that large. Repair the header."
        )
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    with np.errstate(all="ignore"):
        volume = abs(np.linalg.det(matrix[:3, :3]))
    if (lengths < _THINNEST_MM).any() or volume < 1e-6 * np.prod(lengths):
        raise DataError(
            f"{what}: the affine is singular (voxel size {tuple(lengths.tolist())} mm). "
            "Repair the header: all three axes need a size and a direction of their own."
        )
    return matrix


@dataclass(frozen=True)
class Reorientation:
    """A permutation of the three array axes followed by flips; exact and invertible.

    Attributes:
        axes: target axis k is source axis ``axes[k]``.
        flips: whether target axis k runs against its source axis.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of ``array`` (z, y, x[, c]) in the target orientation."""
        moved = array.transpose(*self.axes, *range(3, array.ndim))
        return moved[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of ``array``, given in the target orientation, in the source's."""
        unflipped = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        inverse = tuple(int(axis) for axis in np.argsort(self.axes))
        return unflipped.transpose(*inverse, *range(3, array.ndim))

    def apply_affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """Return the affine of :meth:`apply`'s result for a source of ``shape`` (z, y, x)."""
        moved = affine[:, [*self.axes, 3]].copy()
        for axis, flip in enumerate(self.flips):
            if flip:
                moved[:3, 3] += moved[:3, axis] * (shape[self.axes[axis]] - 1)
                moved[:3, axis] *= -1
        return moved


def to_orientation(affine: Affine, code: str = CANONICAL) -> Reorientation:
    """Return the reorientation that brings the array axes nearest to those that ``code`` names.

    Every model sees volumes in the canonical orientation, so that left stays left whatever way
    the scanner stored the slices. Nothing is interpolated: oblique volumes stay oblique.

    Args:
        affine: of the source.
        code: one of 48: what array axes z, y, x run to, as :func:`orientation_code` tells it.

    Raises:
        ConfigError: the code is another.
    """
    wanted = np.zeros((3, 3))  # column k is the LPS direction of target axis k
    for axis, letter in enumerate(code if len(code) == 3 else ""):
        for world, pair in enumerate(_WORLD):
            if letter in pair:
                wanted[world, axis] = 1 - 2 * pair.index(letter)
    if abs(np.linalg.det(wanted)) != 1:
        raise ConfigError(
            "an orientation must name three letters, one each of L and R, P and A, S and I; "
            f"got {code!r}."
        )
    cosines = wanted.T @ direction_of(affine)  # (target axis, source axis)
    best = max(
        itertools.permutations(range(3)),
        key=lambda axes: sum(abs(cosines[target, source]) for target, source in enumerate(axes)),
    )
    flips = tuple(bool(cosines[target, source] < 0) for target, source in enumerate(best))
    return Reorientation((best[0], best[1], best[2]), (flips[0], flips[1], flips[2]))


def orientation_code(affine: Affine) -> str:
    """Return three letters: the LPS/RAI direction that array axes z, y, x run to, e.g. ``SPL``."""
    direction = direction_of(affine)
    best = max(
        itertools.permutations(range(3)),
        key=lambda world: sum(abs(direction[world[axis], axis]) for axis in range(3)),
    )
    return "".join(_WORLD[best[axis]][int(direction[best[axis], axis] < 0)] for axis in range(3))


def farthest_apart(first: Affine, second: Affine, shape: tuple[int, ...]) -> float:
    """Return the largest distance in mm between the places that two affines give a voxel."""
    corners = np.array(list(itertools.product(*[(0, size - 1) for size in shape[:3]])))
    homogeneous = np.c_[corners, np.ones(len(corners))]
    return float(np.linalg.norm((homogeneous @ (first - second).T)[:, :3], axis=1).max())


def same_grid(first: Affine, second: Affine, shape: tuple[int, ...]) -> bool:
    """Tell whether two affines place every voxel of ``shape`` within 1 % of a voxel (z, y, x).

    Headers round differently (strings in DICOM, float32 in NIfTI), so equality is too strict.
    """
    return farthest_apart(first, second, shape) <= 0.01 * min(spacing_of(first)) + 1e-4
