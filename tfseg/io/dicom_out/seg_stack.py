"""Frames of a Segmentation laid into one stack.

Frames may be missing, since writers leave out those without a segment; several lie at one place,
one a segment; slices may be tilted (the stack is sheared then) or unevenly spaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.geometry import Affine
from tfseg.io.dicom.steps import SAME_PLACE_MM, STEP_TOLERANCE

_SAME_DIRECTION = 1e-3  # of a cosine
_MOST_ADDED = 4  # times the planes there are, where their spacing is uneven
_MOST_GAPS = 10_000  # slices without a frame

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SegFrame:
    """Where one frame lies and what it shows.

    Attributes:
        position: LPS mm of the centre of its first pixel, or ``None``.
        orientation: direction of a row, then of a column; or ``None``.
        spacing: mm between rows, between columns; or ``None``.
        step_mm: SpacingBetweenSlices, or ``None``.
        thickness_mm: SliceThickness, or ``None``.
        segment: its number; 0 where the pixels are segment numbers.
    """

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    step_mm: float | None
    thickness_mm: float | None
    segment: int


@dataclass(frozen=True)
class Stack:
    """Where frames go.

    Attributes:
        where: the plane of each frame; planes are numbered along the normal.
        count: number of planes.
        affine: of the regular stack, (slice, row, column) to LPS mm.
        planes: which plane each slice of the regular stack takes, -1 for none; ``None`` where
            planes and slices are the same.
        remarks: what a person should know.
    """

    where: NDArray[np.intp]
    count: int
    affine: Affine
    planes: NDArray[np.intp] | None
    remarks: tuple[str, ...] = ()


def lay(path: Path, frames: list[SegFrame], image: Affine) -> Stack:
    """Lay frames into a stack.

    Args:
        path: the file, for messages.
        frames: in any order, several at one place.
        image: affine of the image they belong to: a lone plane is no thicker than its slices.

    Raises:
        DataError: a frame without a place, several orientations or spacings, or positions that
            are off a line.
    """
    first = frames[0]
    if first.orientation is None or first.spacing is None or min(first.spacing) <= 0:
        raise DataError(
            f"{path}: frames need an ImageOrientationPatient and a positive PixelSpacing; got "
            f"{first.orientation} and {first.spacing}."
        )
    for frame in frames:
        if (
            frame.position is None
            or frame.orientation is None
            or frame.spacing is None
            or not np.allclose(frame.orientation, first.orientation, rtol=0, atol=_SAME_DIRECTION)
            or not np.allclose(frame.spacing, first.spacing, rtol=1e-3, atol=0)
        ):
            raise DataError(
                f"{path}: all frames must have a position, and one orientation and spacing; one "
                f"has {frame.position}, {frame.orientation} and {frame.spacing}."
            )
    row, column = np.array(first.orientation).reshape(2, 3)
    normal = np.cross(row, column)
    if not np.isclose(np.linalg.norm(normal), 1, atol=1e-2):
        raise DataError(
            f"{path}: ImageOrientationPatient must be two unit vectors at right angles; got "
            f"{first.orientation}."
        )
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    new = np.r_[False, np.diff(heights[order]) > SAME_PLACE_MM]
    where = np.empty(len(frames), np.intp)
    where[order] = np.cumsum(new)
    chosen = order[np.r_[0, np.flatnonzero(new)]]
    places, levels = positions[chosen], heights[chosen] - heights[chosen[0]]
    affine = np.eye(4)
    affine[:3, 1], affine[:3, 2] = column * first.spacing[0], row * first.spacing[1]
    affine[:3, 3] = places[0]
    whole = places[-1] - places[0]
    share = (heights - heights[chosen[0]]) / (levels[-1] or 1.0)
    stray = np.linalg.norm(positions - places[0] - share[:, np.newaxis] * whole, axis=1).max()
    if stray > min(first.spacing) / 2:
        raise DataError(
            f"{path}: the positions of the frames must lie on one line; one is {stray:.3g} mm away."
        )
    if len(levels) == 1:
        slices_mm = float(np.abs(normal @ image[:3, :3]).max())
        step = first.step_mm or min(first.thickness_mm or slices_mm, slices_mm)
        affine[:3, 0] = normal * step
        return Stack(where, 1, affine, None)
    count, planes, said = _regular(levels, first.step_mm)
    affine[:3, 0] = whole / (count - 1)
    return Stack(where, len(levels), affine, planes, said)


def _regular(
    levels: _Vector, said_mm: float | None
) -> tuple[int, NDArray[np.intp] | None, tuple[str, ...]]:
    """Return how many slices a regular stack has, and which plane each takes, -1 for none."""
    steps = np.diff(levels)
    for step in (said_mm, float(steps.min())):
        if step is None:
            continue
        share = steps / step
        whole = np.rint(share)
        if (whole < 1).any() or (np.abs(share - whole) > STEP_TOLERANCE * whole).any():
            continue
        if whole.sum() > _MOST_GAPS + len(levels):
            break
        index = np.r_[0, np.cumsum(whole)].astype(np.intp)
        if index[-1] == len(levels) - 1:
            return len(levels), None, ()
        planes = np.full(index[-1] + 1, -1, np.intp)
        planes[index] = np.arange(len(levels))
        return len(planes), planes, ()
    least = max(float(steps.min()), float(levels[-1]) / (_MOST_ADDED * len(levels)))
    count = max(2, round(float(levels[-1]) / least) + 1)
    grid = np.linspace(0, levels[-1], count)
    planes = np.searchsorted((levels[1:] + levels[:-1]) / 2, grid).astype(np.intp)
    said = (
        f"frames are unevenly spaced, by {steps.min():.4g} to {steps.max():.4g} mm: each place "
        "takes the nearest"
    )
    return count, planes, (said,)
