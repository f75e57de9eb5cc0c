"""Volume: an array of voxels and the affine that says where they are.

Axis order is (z, y, x) with an optional last axis of channels; the world frame is LPS, in mm.
Readers in :mod:`tfseg.io` convert to this form and writers convert back; nothing else does.
A 2D image is a volume of one slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.geometry import Affine, Reorientation, Spacing

MOST = 1e15  # more is no intensity, and the squares of a volume would overflow float32


@dataclass(frozen=True, eq=False)
class Forms:
    """What the header of a NIfTI file says of its grid, for results on the same grid.

    NIfTI can say twice where voxels lie (sform, qform), and viewers choose by their own rules.

    Attributes:
        affine: the volume's, for which alone the fields hold.
        fields: header field -> stored value.
        other: where the qform places the voxels, if that is elsewhere.
    """

    affine: Affine
    fields: Mapping[str, NDArray[Any]]
    other: Affine | None = None


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and their place.

    Attributes:
        array: (z, y, x) or (z, y, x, c), any real dtype. Intensities are in the source's unit
            (HU for CT); label maps are unsigned integers.
        affine: 4x4 float64, voxel index (z, y, x, 1) to LPS mm; see :mod:`tfseg.geometry`.
            It is kept as read, so a result is written with the source's exact affine.
        modality: DICOM's code (``CT``, ``MR``, ...) where the source says it, else ``None``.
        forms: of a volume from NIfTI, so that a result is placed by the same fields.
    """

    array: NDArray[Any]
    affine: Affine
    modality: str | None = None
    forms: Forms | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.array.ndim not in {3, 4} or 0 in self.array.shape:
            raise DataError(
                f"a volume must be (z, y, x) or (z, y, x, c) with no empty axis; "
                f"got shape {self.array.shape}."
            )
        object.__setattr__(self, "affine", geometry.check_affine(self.affine, "volume"))

    @classmethod
    def from_geometry(
        cls,
        array: NDArray[Any],
        spacing_mm: Any = (1.0, 1.0, 1.0),
        origin_mm: Any = (0.0, 0.0, 0.0),
        direction: Any = ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
        modality: str | None = None,
    ) -> Volume:
        """Build a volume from spacing (z, y, x), origin (x, y, z) in LPS and axis directions.

        The default direction is the canonical one: z to Superior, y to Posterior, x to Left.
        """
        affine = geometry.affine_from_geometry(spacing_mm, origin_mm, direction)
        return cls(array, affine, modality)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Spatial shape (z, y, x)."""
        z, y, x = self.array.shape[:3]
        return z, y, x

    @property
    def channels(self) -> int:
        """Number of channels; 1 for an array without a channel axis."""
        return 1 if self.array.ndim == 3 else int(self.array.shape[3])

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel size (z, y, x) in mm."""
        return geometry.spacing_of(self.affine)

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """LPS position (x, y, z) of the centre of voxel (0, 0, 0)."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def direction(self) -> Affine:
        """3x3; column k is the LPS unit vector of array axis k (z, y, x)."""
        return geometry.direction_of(self.affine)

    def check_values(self, what: str) -> None:
        """Refuse voxels that are no measurement.

        Args:
            what: the image, for the message.

        Raises:
            DataError: NaN, infinite, or farther from 0 than :data:`MOST` says.
        """
        low, high = float(self.array.min()), float(self.array.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(f"{what} holds NaN or infinite voxels. Repair it.")
        if max(-low, high) > MOST:
            worst = low if -low > high else high
            raise DataError(
                f"{what} holds voxels of {worst:.4g}; an intensity must lie within -{MOST:g} and "
                f"{MOST:g}. Repair it: such numbers are marks for missing voxels, or damage."
            )

    def with_array(self, array: NDArray[Any]) -> Volume:
        """Return ``array`` on this volume's grid.

        Raises:
            DataError: its spatial shape is another one.
        """
        if tuple(array.shape[:3]) != self.shape:
            raise DataError(f"array of shape {array.shape} does not fit the grid {self.shape}.")
        return Volume(array, self.affine, self.modality, self.forms)

    def channel_last(self) -> NDArray[Any]:
        """Return the array as (z, y, x, c)."""
        return self.array if self.array.ndim == 4 else self.array[..., np.newaxis]

    def same_grid(self, other: Volume) -> bool:
        """Tell whether both have the same shape and voxels within 1 % of a voxel's size."""
        return self.shape == other.shape and geometry.same_grid(
            self.affine, other.affine, self.shape
        )

    def canonical(self) -> tuple[Volume, Reorientation]:
        """Return the volume with axes nearest to (S, P, L), and the way back for arrays."""
        return self.oriented(geometry.CANONICAL)

    def oriented(self, code: str) -> tuple[Volume, Reorientation]:
        """Return the volume with axes nearest to ``code``, and the way back for arrays.

        Raises:
            ConfigError: see :func:`tfseg.geometry.to_orientation`.
        """
        way = geometry.to_orientation(self.affine, code)
        moved = Volume(
            way.apply(self.array), way.apply_affine(self.affine, self.shape), self.modality
        )
        return moved, way
