"""Where the voxels of a series are: the rules that make slices a volume.

DICOM PS3.3 C.7.6.2.1.1: the centre of pixel (row r, column c) lies at
``IPP + c * spacing[1] * row_direction + r * spacing[0] * column_direction`` in LPS mm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io.dicom.headers import DERIVED_OBJECTS, Header, Series

_MAX_VOXELS = 2**33
_DIRECTION_TOLERANCE = 1e-3  # cosines are decimal strings, of four digits in old files
_SPACING_TOLERANCE_MM = 1e-3
_STEP_TOLERANCE = 0.02  # of the slice distance: far above rounding, far below a lost slice
_SAME_PLACE_MM = 1e-2
_MAX_TILT_DEG = 0.1  # a 300 mm stack then drifts by 0.5 mm, less than a pixel

_Vector = NDArray[np.float64]


def stack(series: Series, what: str) -> tuple[tuple[Header, ...], geometry.Affine]:
    """Return the slices in the order of their positions, and the affine of the volume.

    The slice distance is that of the first and the last position, over the steps between.

    Args:
        series: its files in any order.
        what: what messages call it; nothing else in them tells whose series it is.

    Raises:
        DataError: the slices do not make one regular, complete, upright stack.
    """
    headers = series.headers
    _check_kind(headers, what)
    if len(headers) == 1:
        return headers, _lone_slice(headers[0], what)
    _check_alike(headers, what)
    row, column, normal = _directions(headers[0], what)
    positions = np.array([header.position for header in headers])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    _check_steps(positions, normal, what)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine = _affine(step, row, column, headers[0], positions[0])
    return tuple(headers[index] for index in order), geometry.check_affine(affine, what)


def _affine(
    step: _Vector, row: _Vector, column: _Vector, header: Header, origin: Any
) -> geometry.Affine:
    between_rows, between_columns = header.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = row * between_columns
    affine[:3, 3] = origin
    return affine


def _lone_slice(header: Header, what: str) -> geometry.Affine:
    """Place one image: a projection has no position and lies at the origin, upright."""
    step = header.thickness_mm or 1.0  # nothing else tells how thick a lone slice is
    if header.position is None or header.orientation is None:
        row, column, normal = np.eye(3)
        return _affine(normal * step, row, column, header, (0.0, 0.0, 0.0))
    row, column, normal = _directions(header, what)
    affine = _affine(normal * step, row, column, header, header.position)
    return geometry.check_affine(affine, what)


def _check_kind(headers: tuple[Header, ...], what: str) -> None:
    """Refuse what is no stack of single-frame gray slices."""
    for header in headers:
        name = header.name
        if header.rows < 1 or header.columns < 1 or header.modality in DERIVED_OBJECTS:
            raise DataError(f"{what}: holds no image (modality {header.modality}, {name}).")
        if header.frames > 1:
            raise DataError(
                f"{what}: files must hold one frame each; {name} holds {header.frames}. "
                "Convert multi-frame files to single-frame ones."
            )
        if header.samples != 1:
            raise DataError(
                f"{what}: pixels must be gray; {name} has {header.samples} samples a pixel."
            )
        if "MOSAIC" in header.image_type:
            raise DataError(
                f"{what}: {name} is a mosaic, many slices tiled into one picture. "
                "Export the series as single slices."
            )
        if "LOCALIZER" in header.image_type:
            raise DataError(f"{what}: a localizer is no volume ({name}). Leave it out.")
        if "ModalityLUTSequence" in header.dataset:
            raise DataError(
                f"{what}: {name} has a Modality LUT; only rescale slope and intercept are read."
            )
    voxels = len(headers) * headers[0].rows * headers[0].columns
    if voxels > _MAX_VOXELS:
        raise DataError(f"{what}: a volume may have {_MAX_VOXELS} voxels; this has {voxels}.")


def _check_alike(headers: tuple[Header, ...], what: str) -> None:
    """Refuse slices without a place, or of different size, spacing or orientation."""
    first = headers[0]
    for header in headers:
        name = header.name
        if header.position is None or header.orientation is None or header.spacing is None:
            missing = next(
                keyword
                for keyword, value in (
                    ("ImagePositionPatient", header.position),
                    ("ImageOrientationPatient", header.orientation),
                    ("PixelSpacing", header.spacing),
                )
                if value is None
            )
            raise DataError(f"{what}: every slice needs {missing}; {name} has none.")
        if (header.rows, header.columns) != (first.rows, first.columns):
            raise DataError(
                f"{what}: slices must have one size; {first.name} has {first.rows} x "
                f"{first.columns} pixels, {name} {header.rows} x {header.columns}."
            )
        if not _close(header.orientation, first.orientation, _DIRECTION_TOLERANCE):
            raise DataError(
                f"{what}: slices must have one orientation, as a localizer has not; "
                f"{first.name} has {_text(first.orientation)}, {name} "
                f"{_text(header.orientation)}."
            )
        if not _close(header.spacing, first.spacing, _SPACING_TOLERANCE_MM):
            raise DataError(
                f"{what}: slices must have one PixelSpacing; {first.name} has "
                f"{_text(first.spacing)} mm, {name} {_text(header.spacing)} mm."
            )


def _directions(header: Header, what: str) -> tuple[_Vector, _Vector, _Vector]:
    """Return unit vectors along a row, along a column, and their normal."""
    cosines = np.array(header.orientation).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if (
        not np.isfinite(cosines).all()
        or (abs(lengths - 1) > 10 * _DIRECTION_TOLERANCE).any()
        or abs(cosines[0] @ cosines[1]) > 10 * _DIRECTION_TOLERANCE
        or min(header.spacing or (1.0,)) <= 0
    ):
        raise DataError(
            f"{what}: ImageOrientationPatient must be two unit vectors at right angles and "
            f"PixelSpacing positive; got {_text(header.orientation)} and {_text(header.spacing)}."
        )
    row, column = cosines / lengths[:, np.newaxis]
    return row, column, np.cross(row, column)


def _check_steps(positions: _Vector, normal: _Vector, what: str) -> None:
    """Refuse duplicate, missing, unevenly spaced and tilted slices.

    Args:
        positions: (slices, 3) LPS mm, ordered along ``normal``.
        normal: unit vector.
        what: the series, for messages.
    """
    steps = np.diff(positions @ normal)
    if not np.isfinite(steps).all():
        raise DataError(f"{what}: ImagePositionPatient must be finite.")
    together = int((steps < _SAME_PLACE_MM).sum())
    if together:
        raise DataError(
            f"{what}: every slice must have a place of its own; {together} of "
            f"{len(positions)} lie where another does (time points, echoes, b-values or copies). "
            "Separate them into folders."
        )
    usual = float(np.median(steps))
    off = np.abs(steps - usual) > max(_STEP_TOLERANCE * usual, _SAME_PLACE_MM)
    if off.any():
        gap = int(np.argmax(np.abs(steps - usual)))
        times = steps[gap] / usual
        if times > 1.5 and abs(times - round(times)) < 0.1:
            raise DataError(
                f"{what}: slices are missing: {round(times) - 1} after slice {gap + 1} of "
                f"{len(positions)} (a step of {steps[gap]:.4g} mm where {usual:.4g} mm is usual). "
                "Transfer the series again."
            )
        raise DataError(
            f"{what}: slices must be evenly spaced; their steps go from {steps.min():.4g} to "
            f"{steps.max():.4g} mm. Resample the series to an even spacing."
        )
    whole = positions[-1] - positions[0]
    tilt = np.degrees(np.arccos(min(1.0, float(whole @ normal / np.linalg.norm(whole)))))
    if tilt > _MAX_TILT_DEG:
        raise DataError(
            f"{what}: slices must be stacked at right angles; they are tilted by {tilt:.2f} "
            "degrees (gantry tilt). Correct the tilt with a converter first."
        )
    line = positions[0] + np.linspace(0, 1, len(positions))[:, np.newaxis] * whole
    stray = float(np.linalg.norm(positions - line, axis=1).max())
    if stray > max(_STEP_TOLERANCE * usual * 2, _SAME_PLACE_MM):
        raise DataError(
            f"{what}: slice positions must lie on one line; one is {stray:.3g} mm away from it."
        )


def _close(first: Any, second: Any, tolerance: float) -> bool:
    return bool(np.allclose(first, second, rtol=0, atol=tolerance))


def _text(numbers: Any) -> str:
    return "none" if numbers is None else "\\".join(f"{number:g}" for number in numbers)
