"""Where the voxels of a volume are: the rules that make slices a volume.

DICOM PS3.3 C.7.6.2.1.1: the centre of pixel (row r, column c) lies at
``IPP + c * spacing[1] * row_direction + r * spacing[0] * column_direction`` in LPS mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io.dicom.frames import FURTHEST_MM, Frame, require_gray
from tfseg.io.dicom.regular import Correction
from tfseg.io.dicom.steps import SAME_PLACE_MM, STEP_TOLERANCE, irregular, usual_step

_MAX_VOXELS = 2**33
_DIRECTION_TOLERANCE = 1e-2  # of cosines' lengths and right angle
_SPACING_TOLERANCE_MM = 1e-3
_JITTER = 0.25  # of the slice distance: steps that still count as one distance
_GAP = 1.5  # times the usual step, where the others are alike
_NEAREST = 0.02  # of the widest step: nearer slices are of two volumes that are a little apart
_MAX_TILT_DEG = 0.1  # a 300 mm stack then drifts by 0.5 mm, less than a pixel
_STEEPEST_TILT_DEG = 45.0  # gantries tilt by 30 at most
_MOST_SLICES_ADDED = 4  # times the slices there are, where spacing is uneven

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Where the slices of a volume go.

    Attributes:
        frames: in the order of their positions.
        affine: of the volume, after correction.
        correction: what makes the grid regular, or ``None`` where it is.
        decisions: sentences on what was corrected.
    """

    frames: tuple[Frame, ...]
    affine: geometry.Affine
    correction: Correction | None
    decisions: tuple[str, ...]


def place(frames: tuple[Frame, ...], what: str, *, allow_gaps: bool = False) -> Placement:
    """Order slices by their positions and lay a regular grid over them.

    The slice distance is that of the first and the last position, over the steps between.

    Args:
        frames: slices of one volume, in any order.
        what: what messages call it; nothing else in them tells whose it is.
        allow_gaps: bridge missing slices by interpolation instead of refusing them.

    Raises:
        DataError: slices without a place, of different size, spacing or orientation; two at
            one place; missing ones; positions off a line.
    """
    _check_pixels(frames, what)
    if len(frames) == 1:
        return _lone_slice(frames[0], what)
    _check_alike(frames, what)
    row, column, normal = _directions(frames[0], what)
    positions = np.array([frame.position for frame in frames])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    frames = tuple(frames[index] for index in order)
    tilt = _check_line(positions, normal, what)
    heights = (positions - positions[0]) @ normal
    levels, said = _levels(heights, positions, what, allow_gaps)
    count = len(frames) if levels is None else len(levels)
    first = frames[0]
    if tilt <= _MAX_TILT_DEG and levels is None:
        step = (positions[-1] - positions[0]) / (count - 1)
        affine = _affine(step, row, column, first, positions[0])
        return Placement(frames, geometry.check_affine(affine, what), None, ())
    correction, origin = Correction(first.rows, first.columns, None, None, levels), positions[0]
    if tilt > _MAX_TILT_DEG:
        correction, origin = _upright(positions, row, column, first, levels)
        said = (_tilt_text(tilt, first, correction), *said)
    _check_size(count * correction.rows * correction.columns, what)
    affine = _affine(normal * heights[-1] / (count - 1), row, column, first, origin)
    return Placement(frames, geometry.check_affine(affine, what), correction, said)


def _upright(
    positions: _Vector, row: _Vector, column: _Vector, first: Frame, levels: _Vector | None
) -> tuple[Correction, _Vector]:
    """Return how to shift tilted slices onto a grid at right angles, and its origin (LPS mm)."""
    between_rows, between_columns = first.spacing or (1.0, 1.0)
    away = positions - positions[0]
    row_moves, more_rows, top = _moves(away @ column / between_rows)
    column_moves, more_columns, left = _moves(away @ row / between_columns)
    origin = positions[0] + column * between_rows * top + row * between_columns * left
    size = first.rows + more_rows, first.columns + more_columns
    return Correction(*size, row_moves, column_moves, levels), origin


def _tilt_text(tilt: float, first: Frame, correction: Correction) -> str:
    return (
        f"gantry tilt of {tilt:.2f} degrees corrected: slices shifted in their planes with linear "
        f"interpolation, {first.rows} x {first.columns} pixels became {correction.rows} x "
        f"{correction.columns}"
    )


def _moves(offsets: _Vector) -> tuple[_Vector | None, int, float]:
    """Return how to shift slices along one axis onto a common grid that holds all of them.

    The grid ends with the last pixel of the slice that reaches furthest, as dcm2niix' does, so
    that results can be compared.

    Args:
        offsets: where the first pixel of each slice lies, in pixels of the first slice.

    Returns:
        For each slice the source index of the grid's first pixel, or ``None`` where nothing
        moves; how many pixels the grid is longer than a slice; and the grid's first pixel in
        pixels of the first slice.
    """
    longer = math.ceil(float(np.ptp(offsets)) - 1e-3)
    if longer < 1:
        return None, 0, 0.0
    first = float(offsets.max()) - longer
    return first - offsets, longer, first


def _affine(
    step: _Vector, row: _Vector, column: _Vector, frame: Frame, origin: Any
) -> geometry.Affine:
    between_rows, between_columns = frame.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = row * between_columns
    affine[:3, 3] = origin
    return affine


def _lone_slice(frame: Frame, what: str) -> Placement:
    """Place one image: a projection has no position and lies at the origin, upright."""
    step = frame.thickness_mm or 1.0  # nothing else tells how thick a lone slice is
    if not (_positive((step,)) and _positive(frame.spacing or (1.0,))):
        raise DataError(
            f"{what}: PixelSpacing and SliceThickness must be positive numbers; got "
            f"{_text(frame.spacing)} and {step:g}."
        )
    said: tuple[str, ...] = () if frame.spacing else ("no pixel spacing: 1 mm taken",)
    if frame.position is None or frame.orientation is None:
        said = ("no position: placed at the origin, upright", *said)
        row, column, normal = np.eye(3)
        affine = _affine(normal * step, row, column, frame, (0.0, 0.0, 0.0))
    else:
        if not frame.thickness_mm:
            said = ("no slice thickness: 1 mm taken", *said)
        _check_placed(frame, what)
        row, column, normal = _directions(frame, what)
        affine = _affine(normal * step, row, column, frame, frame.position)
    return Placement((frame,), geometry.check_affine(affine, what), None, said)


def _check_pixels(frames: tuple[Frame, ...], what: str) -> None:
    for frame in frames:
        require_gray(frame.header, what)
    _check_size(len(frames) * frames[0].rows * frames[0].columns, what)


def _check_size(voxels: int, what: str) -> None:
    if voxels > _MAX_VOXELS:
        raise DataError(f"{what}: a volume may have {_MAX_VOXELS} voxels; this has {voxels}.")


def _check_alike(frames: tuple[Frame, ...], what: str) -> None:
    """Refuse slices without a place, or of different size or spacing."""
    first = frames[0]
    for frame in frames:
        for keyword, value in (
            ("ImagePositionPatient", frame.position),
            ("ImageOrientationPatient", frame.orientation),
            ("PixelSpacing", frame.spacing),
        ):
            if value is None:
                raise DataError(f"{what}: every slice needs {keyword}; {frame.name} has none.")
        _check_placed(frame, what)
        if (frame.rows, frame.columns) != (first.rows, first.columns):
            raise DataError(
                f"{what}: slices must have one size; {first.name} has {first.rows} x "
                f"{first.columns} pixels, {frame.name} {frame.rows} x {frame.columns}."
            )
        if frame.spacing != first.spacing and not np.allclose(
            np.array(frame.spacing), np.array(first.spacing), rtol=0, atol=_SPACING_TOLERANCE_MM
        ):
            raise DataError(
                f"{what}: slices must have one PixelSpacing; {first.name} has "
                f"{_text(first.spacing)} mm, {frame.name} {_text(frame.spacing)} mm."
            )


def _check_placed(frame: Frame, what: str) -> None:
    if not frame.is_placed:
        raise DataError(
            f"{what}: ImagePositionPatient and ImageOrientationPatient must be numbers of at most "
            f"{FURTHEST_MM:g}; {frame.name} has {_text(frame.position)} and "
            f"{_text(frame.orientation)}."
        )


def _positive(numbers: tuple[float, ...]) -> bool:
    return all(0 < number <= FURTHEST_MM for number in numbers)


def _directions(frame: Frame, what: str) -> tuple[_Vector, _Vector, _Vector]:
    """Return unit vectors along a row, along a column, and their normal."""
    cosines = np.array(frame.orientation).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if (
        not np.isfinite(cosines).all()
        or (abs(lengths - 1) > _DIRECTION_TOLERANCE).any()
        or abs(cosines[0] @ cosines[1]) > _DIRECTION_TOLERANCE
        or not _positive(frame.spacing or (1.0,))
    ):
        raise DataError(
            f"{what}: ImageOrientationPatient must be two unit vectors at right angles and "
            f"PixelSpacing positive; got {_text(frame.orientation)} and {_text(frame.spacing)}."
        )
    row, column = cosines / lengths[:, np.newaxis]
    normal = np.cross(row, column)
    return row, column, normal / np.linalg.norm(normal)


def _check_line(positions: _Vector, normal: _Vector, what: str) -> float:
    """Return the tilt in degrees; refuse positions that lie together or not on a line.

    Args:
        positions: (slices, 3) LPS mm, ordered along ``normal``.
        normal: unit vector.
        what: the volume, for messages.
    """
    steps = np.diff(positions @ normal)
    together = int((steps < SAME_PLACE_MM).sum())
    if together:
        raise DataError(
            f"{what}: every slice must have a place of its own; {together} of "
            f"{len(positions)} lie where another does."
        )
    whole = positions[-1] - positions[0]
    height = float(whole @ normal)
    # Not acos of the cosine, which rounds small angles away.
    tilt = math.degrees(math.atan2(float(np.linalg.norm(whole - height * normal)), height))
    if tilt > _STEEPEST_TILT_DEG:
        raise DataError(
            f"{what}: slices must be stacked along their normal, tilted by at most "
            f"{_STEEPEST_TILT_DEG:g} degrees; these are by {tilt:.1f}."
        )
    shares = ((positions - positions[0]) @ normal) / height
    line = positions[0] + shares[:, np.newaxis] * whole
    stray = float(np.linalg.norm(positions - line, axis=1).max())
    if stray > max(STEP_TOLERANCE * 2 * float(np.median(steps)), SAME_PLACE_MM):
        raise DataError(
            f"{what}: slice positions must lie on one line; one is {stray:.3g} mm away from it. "
            "Two stacks may be mixed: separate them."
        )
    return tilt


def _levels(
    heights: _Vector, positions: _Vector, what: str, allow_gaps: bool
) -> tuple[_Vector | None, tuple[str, ...]]:
    """Check the steps between slices.

    Args:
        heights: mm along the normal from the first slice, increasing.
        positions: of the slices, LPS mm, for messages.
        what: the volume, for messages.
        allow_gaps: interpolate missing slices.

    Returns:
        Where the slices of a regular grid lie among the given ones, as fractional indices, or
        ``None`` where they are regular; and what was decided.
    """
    steps = np.diff(heights)
    usual = usual_step(steps)
    if not irregular(steps, usual).any():
        return None, ()
    if steps.min() < _NEAREST * steps.max():
        raise DataError(
            f"{what}: slices of one volume must be a distance apart; there are steps of "
            f"{steps.min():.3g} beside {steps.max():.3g} mm, and no attribute tells apart what may "
            "be two volumes. Separate them."
        )
    wide = steps > _GAP * usual
    extent = float(heights[-1])
    if wide.any() and (np.abs(steps[~wide] - usual) <= _JITTER * usual).all():
        gaps = _gaps_text(steps, wide, usual, positions)
        if not allow_gaps:
            raise DataError(
                f"{what}: slices are missing: {gaps}. Transfer the series again, or interpolate "
                "them with --allow-gaps of tfseg import-dicom."
            )
        count = max(2, round(extent / usual) + 1)
        said = f"missing slices interpolated as allowed: {gaps}"
    else:
        step = max(float(steps.min()), extent / (_MOST_SLICES_ADDED * len(heights)))
        count = max(2, round(extent / step) + 1)
        said = (
            f"uneven spacing of {steps.min():.4g} to {steps.max():.4g} mm resampled linearly: "
            f"{len(heights)} slices became {count} of {extent / (count - 1):.4g} mm"
        )
    grid = np.linspace(0, extent, count)
    return np.interp(grid, heights, np.arange(len(heights))), (said,)


def _gaps_text(steps: _Vector, wide: NDArray[np.bool_], usual: float, positions: _Vector) -> str:
    named = []
    places = np.flatnonzero(wide)
    for index in places[:5]:
        before, after = (_text(positions[index + offset].tolist()) for offset in (0, 1))
        named.append(
            f"{max(1, round(steps[index] / usual) - 1)} after slice {index + 1} of "
            f"{len(positions)} (a step of {steps[index]:.4g} mm where {usual:.4g} mm is usual, "
            f"between {before} and {after})"
        )
    more = f" and {len(places) - 5} more gaps" if len(places) > 5 else ""
    return "; ".join(named) + more


def _text(numbers: Any) -> str:
    return "none" if numbers is None else "\\".join(f"{number:g}" for number in numbers)
