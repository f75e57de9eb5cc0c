"""What the volume phantoms are drawn with: shapes as signed distances, painted over each other.

All lengths are mm in a patient frame LPS whose origin is the middle of the body: x to the
patient's Left, y to the Posterior, z to the Superior. Because shapes are functions of place, any
grid can sample them: oblique, anisotropic, of any size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.geometry import Affine

Field = NDArray[Any]  # float32 (z, y, x): a function of place
Point = Sequence[float] | NDArray[np.float64]
Box = tuple[slice, ...]


class Scene:
    """A canvas of intensities and labels on one grid.

    Attributes:
        x, y, z: float32 (z, y, x), place of every voxel in the undeformed anatomy.
        value: float32 (z, y, x), intensity painted so far.
        label: uint8 (z, y, x).
        softness_mm: width over which a surface goes from outside to inside: the partial volume
            of a voxel of that size.
    """

    def __init__(
        self, shape: tuple[int, int, int], affine: Affine, background: float, softness_mm: float
    ) -> None:
        index = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij")
        place = np.tensordot(affine[:3, :3].astype(np.float32), index, 1)
        self.x: Field
        self.y: Field
        self.z: Field
        self.x, self.y, self.z = place + affine[:3, 3].astype(np.float32).reshape(3, 1, 1, 1)
        self.value: Field = np.full(shape, background, np.float32)
        self.label = np.zeros(shape, np.uint8)
        self.softness_mm = softness_mm
        self._to_index = np.linalg.inv(affine)
        self._bend_mm = 0.0

    def deform(self, rng: np.random.Generator, amplitude_mm: float, wavelength_mm: float) -> None:
        """Bend space smoothly: each coordinate is shifted by a few long random waves."""
        shifts = [
            random_waves(rng, (self.x, self.y, self.z), wavelength_mm, 4) * amplitude_mm
            for _ in range(3)
        ]
        self.x, self.y, self.z = self.x + shifts[0], self.y + shifts[1], self.z + shifts[2]
        self._bend_mm += float(max(np.abs(shift).max() for shift in shifts))

    def around(self, centre: Point, reach_mm: float) -> tuple[Scene, Box]:
        """Return the part of the canvas near a point, and its box in the whole.

        The part shares the canvas' memory: painting a small organ there costs what the organ
        costs, not what the scan costs.
        """
        middle = self._to_index @ [*centre, 1.0]
        # A sphere's extent along index axis k is its radius times the norm of row k.
        reach = (reach_mm + self._bend_mm) * np.linalg.norm(self._to_index[:3, :3], axis=1)
        low = np.floor(middle[:3] - reach).astype(int)
        high = np.ceil(middle[:3] + reach).astype(int) + 1
        box = tuple(
            slice(min(max(a, 0), n - 1), max(min(b, n), 1))
            for a, b, n in zip(low.tolist(), high.tolist(), self.label.shape, strict=True)
        )
        part = copy.copy(self)
        for name in ("x", "y", "z", "value", "label"):
            setattr(part, name, getattr(self, name)[box])
        return part, box

    def ellipsoid(self, centre: Point, radii: Point, turn_deg: float = 0.0) -> Field:
        """Return about the signed distance to an ellipsoid, turned about the z axis.

        The first-order distance ``k0 (k0 - 1) / k1`` with ``k0 = |p / r|``, ``k1 = |p / r^2|``
        is exact at the surface, where it is used.
        """
        x, y, z = (
            axis - np.float32(c) for axis, c in zip((self.x, self.y, self.z), centre, strict=True)
        )
        if turn_deg:
            cos, sin = (
                np.float32(np.cos(np.radians(turn_deg))),
                np.float32(np.sin(np.radians(turn_deg))),
            )
            x, y = cos * x + sin * y, cos * y - sin * x
        a, b, c = (np.float32(radius) for radius in radii)
        k0 = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
        k1 = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2)
        return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))

    def tube(self, start: Point, end: Point, radius: float) -> Field:
        """Return the signed distance to a capsule from ``start`` to ``end``."""
        first = np.asarray(start, np.float32)
        way = np.asarray(end, np.float32) - first
        x, y, z = self.x - first[0], self.y - first[1], self.z - first[2]
        along = (x * way[0] + y * way[1] + z * way[2]) / np.float32(way @ way)
        along = along.clip(0, 1)
        return np.sqrt(
            (x - along * way[0]) ** 2 + (y - along * way[1]) ** 2 + (z - along * way[2]) ** 2
        ) - np.float32(radius)

    def cover(self, distance: Field) -> Field:
        """Return the share of each voxel that lies inside (0 to 1)."""
        return (np.float32(0.5) - distance / np.float32(self.softness_mm)).clip(0, 1)

    def paint(self, distance: Field, value: float | Field, label: int | None = 0) -> None:
        """Paint a shape over what is there; ``label=None`` leaves the labels as they are."""
        cover = self.cover(distance)
        self.value += cover * (np.float32(value) - self.value)
        if label is not None:
            self.label[cover > 0.5] = label


def union(first: Field, second: Field, blend_mm: float) -> Field:
    """Return the union of two shapes with the crease filled over ``blend_mm``.

    Quilez' polynomial smooth minimum: a smooth surface where two lobes meet.
    """
    blend = np.float32(blend_mm)
    mix = (0.5 + 0.5 * (second - first) / blend).clip(0, 1)
    return second + (first - second) * mix - blend * mix * (1 - mix)


def random_waves(
    rng: np.random.Generator, place: Sequence[Field], wavelength_mm: float, count: int
) -> Field:
    """Return a smooth random function of place: mean 0, standard deviation about 1.

    Args:
        rng: where directions, phases and wavelengths (0.7 to 1.4 times the given one) come from.
        place: the coordinates, one array an axis.
        wavelength_mm: typical distance between two crests.
        count: number of plane waves; more look less regular.
    """
    total = np.zeros(place[0].shape, np.float32)
    for _ in range(count):
        direction = rng.normal(size=len(place))
        length = wavelength_mm * np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
        wave = 2 * np.pi * direction / np.linalg.norm(direction) / length
        phase = sum(
            np.float32(component) * axis for component, axis in zip(wave, place, strict=True)
        )
        total += np.sin(phase + np.float32(rng.uniform(0, 2 * np.pi)))
    return total * np.float32(np.sqrt(2 / count))


def rotation(rng: np.random.Generator, largest_deg: float) -> Affine:
    """Return a random 3x3 rotation about each axis by at most ``largest_deg``."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(rng.uniform(-largest_deg, largest_deg, 3))):
        step = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step[[i, j], [i, j]] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned


def centred_affine(
    shape: tuple[int, int, int], spacing_mm: Point, turned: Affine, offset_mm: Point
) -> tuple[Affine, Affine]:
    """Return (place in the anatomy, place in the scanner) of a grid around the body's middle.

    Args:
        shape: grid size (z, y, x).
        spacing_mm: voxel size (z, y, x).
        turned: rotation of the grid against the patient axes.
        offset_mm: where the scanner sees the middle of the body, LPS.
    """
    affine = np.eye(4)
    affine[:3, :3] = turned[:, ::-1] * np.asarray(spacing_mm)  # columns z, y, x
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    scanner = affine.copy()
    scanner[:3, 3] += offset_mm
    return affine, scanner
