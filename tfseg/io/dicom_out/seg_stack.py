"""Frames of a Segmentation laid into one stack.

Each frame stands for a slab of the body. It is as thick as the file says: SliceThickness, or
SpacingBetweenSlices where slices follow each other with small gaps or overlap (PS3.3
C.7.6.16.2.1). Never does it reach as far as the next frame only because that is the next:
writers leave out frames without a segment. Several frames lie at one place, one a segment;
slices may be tilted (the stack is sheared then) or unevenly spaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.geometry import Affine
from tfseg.io.dicom.steps import SAME_PLACE_MM, STEP_TOLERANCE

_SAME_DIRECTION = 1e-3  # of a cosine
_SAME_PLACE = 0.01  # of the thickness: positions are rounded
_GAP = 0.5  # of the thickness: slices this far apart are taken to follow each other
_OVERLAP = 0.2  # of the thickness: planes nearer than this are rounded, not overlapping
_TIE = 0.01  # of the thickness: centres on the border of two slabs belong to the upper one
_OFF_GRID = 0.05  # of a voxel
_THICK = 1.5  # slices of the image: more is worth a remark

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

    @property
    def stated_mm(self) -> float | None:
        """How thick a slab it stands for, as the file has it; ``None`` where it does not say."""
        step, thickness = self.step_mm, self.thickness_mm
        if step is not None and (thickness is None or step <= (1 + _GAP) * thickness):
            return step
        return thickness


@dataclass(frozen=True)
class Stack:
    """Where frames go.

    Attributes:
        where: the plane of each frame; planes are numbered along the normal.
        levels: (planes,) mm along the normal from the first plane.
        low, high: (planes,) mm, where the slab of each begins and ends.
        affine: (mm along the normal, row, column) to LPS mm.
        remarks: what a person should know.
    """

    where: NDArray[np.intp]
    levels: _Vector
    low: _Vector
    high: _Vector
    affine: Affine
    remarks: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of planes."""
        return len(self.levels)

    def planes(self, heights: _Vector) -> NDArray[np.intp]:
        """Return in which plane's slab each height (mm) lies, -1 for none."""
        raised = heights + _TIE * float((self.high - self.low).min())
        plane = np.searchsorted(self.low, raised, "right") - 1
        return np.where((plane >= 0) & (raised < self.high[plane]), plane, -1)

    def shown(self, image: Affine, shape: tuple[int, int, int]) -> NDArray[np.bool_] | None:
        """Tell which planes some slice of an image lies in; ``None`` if it is oblique to them."""
        row = (np.linalg.inv(self.affine) @ image)[0]
        axis = int(np.argmax(np.abs(row[:3])))
        others = np.abs(np.delete(row[:3] * shape, axis)).sum()
        if others > _TIE * float((self.high - self.low).min()):
            return None
        hit = self.planes(row[axis] * np.arange(shape[axis]) + row[3])
        return np.isin(np.arange(self.count), hit)


def flat(frames: int, image: Affine) -> Stack:
    """Return the stack of frames that are pictures of one slice, without a place of their own."""
    half = np.array([0.5])
    return Stack(np.zeros(frames, np.intp), np.zeros(1), -half, half, image)


def lay(
    path: Path, frames: Sequence[SegFrame], image: Affine, image_mm: float | None = None
) -> Stack:
    """Lay frames of one thickness into a stack.

    Args:
        path: the file, for messages.
        frames: in any order, several at one place.
        image: affine of the image they belong to.
        image_mm: SliceThickness of the image, where it is known. Frames of that thickness are
            the image's slices, which may overlap.

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
    slice_mm = float(np.abs(normal @ image[:3, :3]).max())
    same_mm = max(SAME_PLACE_MM, _SAME_PLACE * (first.stated_mm or slice_mm))
    new = np.r_[False, np.diff(heights[order]) > same_mm]
    where = np.empty(len(frames), np.intp)
    where[order] = np.cumsum(new)
    chosen = order[np.r_[0, np.flatnonzero(new)]]
    places, levels = positions[chosen], heights[chosen] - heights[chosen[0]]
    whole = places[-1] - places[0]
    share = (heights - heights[chosen[0]]) / (levels[-1] or 1.0)
    stray = np.linalg.norm(positions - places[0] - share[:, np.newaxis] * whole, axis=1).max()
    if stray > min(first.spacing) / 2:
        raise DataError(
            f"{path}: the positions of the frames must lie on one line; one is {stray:.3g} mm away."
        )
    affine = np.eye(4)
    affine[:3, 0] = normal if len(levels) == 1 else whole / levels[-1]
    affine[:3, 1], affine[:3, 2] = column * first.spacing[0], row * first.spacing[1]
    affine[:3, 3] = places[0]
    thickness, said = _thickness(first, np.diff(levels), slice_mm, image_mm)
    reach = np.minimum(np.diff(levels), thickness) / 2
    adjoining = np.diff(levels) <= (1 + _GAP) * thickness  # also those a little further apart
    reach[adjoining] = np.diff(levels)[adjoining] / 2
    low = levels - np.r_[thickness / 2, reach]
    high = levels + np.r_[reach, thickness / 2]
    return Stack(where, levels, low, high, affine, (*said, *_uneven(np.diff(levels), thickness)))


def _thickness(
    frame: SegFrame, steps: _Vector, slice_mm: float, image_mm: float | None
) -> tuple[float, tuple[str, ...]]:
    """Return how thick the slab of a frame is where no other is near, and remarks."""
    stated = frame.stated_mm
    if stated is None:
        regular = len(steps) > 1 and _are_multiples(steps, float(steps.min()))
        common = regular and 2 * np.count_nonzero(steps < 1.1 * steps.min()) >= len(steps)
        thickness = float(steps.min()) if common else slice_mm
        return thickness, (
            f"the file does not say how thick frames are: each stands for {thickness:.4g} mm",
        )
    near = steps[steps > _OVERLAP * stated]
    thickness = min(stated, float(near.min())) if len(near) else stated
    if frame.thickness_mm == stated and len(near) and stated < near.min() <= (1 + _GAP) * stated:
        thickness = float(near.min())  # slices with small gaps between them
    if thickness < stated / _THICK:
        return thickness, (
            f"frames of {stated:.4g} mm are {thickness:.4g} mm apart: each stands for that",
        )
    if image_mm is not None and abs(image_mm - stated) <= STEP_TOLERANCE * stated:
        thickness = min(thickness, slice_mm)
    if thickness > _THICK * slice_mm:
        return thickness, (
            f"each frame stands for {thickness:.4g} mm, as the file says; the image's slices are "
            f"{slice_mm:.4g} mm apart",
        )
    return thickness, ()


def _are_multiples(steps: _Vector, step: float) -> bool:
    share = steps / step
    return bool((np.abs(share - np.rint(share)) <= STEP_TOLERANCE * share).all())


def _uneven(steps: _Vector, thickness: float) -> tuple[str, ...]:
    """Say that planes that follow each other do so at different distances."""
    some = steps[steps <= 2 * thickness]
    if not len(some) or _are_multiples(steps, float(steps.min())):
        return ()
    return (
        f"frames are unevenly spaced, by {steps.min():.4g} to {steps.max():.4g} mm: each place "
        "takes the nearest that reaches it",
    )


def on_grid(stack: Stack, image: Affine, shape: tuple[int, int, int]) -> bool:
    """Tell whether every pixel of the frames has a voxel of the image at its own place."""
    index = np.linalg.inv(stack.affine) @ image
    axes = np.argmax(np.abs(index[:3, :3]), axis=1)
    if len(set(axes.tolist())) < 3:
        return False
    off = np.abs(index[:3, :3])
    off[np.arange(3), axes] -= [off[0, axes[0]], 1, 1]
    unit = np.array([float((stack.high - stack.low).min()), 1, 1])
    strays = (np.abs(off) * shape).sum(axis=1) / unit
    shift = np.abs(index[1:3, 3] - np.rint(index[1:3, 3]))
    slices = index[0, axes[0]] * np.arange(shape[axes[0]]) + index[0, 3]
    apart = np.abs(slices[:, np.newaxis] - stack.levels).min(axis=0) / abs(index[0, axes[0]])
    within = (stack.levels > slices.min()) & (stack.levels < slices.max())
    return bool(
        (strays <= _OFF_GRID).all()
        and (shift <= _OFF_GRID).all()
        and (apart[within] <= _OFF_GRID).all()
    )
