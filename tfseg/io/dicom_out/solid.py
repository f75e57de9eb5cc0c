"""Contours in parallel planes as voxels of any grid.

A contour stands for a slab of the body, half of the distance between planes on each side. A
voxel belongs to it when its centre lies in the slab and inside the contour. Contours across an
axis of the grid, the usual case, are filled in the grid's own pixels; others in quarters of
them, from which each voxel takes the nearest.

Slabs are as thick as the file says planes are apart (PS3.3 C.8.8.6.4). Most files do not say;
then it is told by the planes themselves:

- three planes or more that are at whole multiples of their smallest step, which most of them
  have, are that step apart; planes that are left out between are gaps;
- other structures have the smallest step of all structures in the file, or, where planes are at
  no whole multiples of it, reach half way to each neighbour within twice that step;
- planes further apart than 10 mm, or a lone plane, stand for one slice of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.geometry import Affine
from tfseg.io.dicom_out.contours import Polygon, crossings, fill
from tfseg.volume import Volume

Box = tuple[slice, slice, slice]
_Numbers = NDArray[np.float64]

_SAME_PLANE_MM = 0.02  # coordinates are often rounded to a hundredth
_WIDEST_STEP_MM = 10.0
_MULTIPLE = 0.1  # of the smallest step: how far others may be from whole multiples of it
_IN_PLANE = 0.05  # of a slice: contours that are flat within lie across that axis
_NEARLY = 0.25  # of a slice: so do those that are flat but for rounding, _UNEVEN_MM
_UNEVEN_MM = 0.2
_TIE = 0.01  # of a slice: centres on the border of two slabs belong to the upper one
_MOST_CROSSINGS = 1 << 28  # of rows of pixels by all edges: eight seconds' work
_MOST_FINE_PIXELS = 1 << 30  # of one oblique structure
_SPARE_PIXELS = 1 << 29  # that structures may cover beside _TIMES_COVERED images together
_TIMES_COVERED = 64


@dataclass(frozen=True)
class Stack:
    """The contours of one structure in a frame of their own.

    Attributes:
        contours: points (n, 2) as (v, u) in pixels of the frame.
        heights: (contours,) mm along the frame's first axis.
        frame: 4x4, (height mm, v, u, 1) to LPS mm.
        axis: of the grid, across which all contours lie; ``None`` where they are oblique to it.
        slice_mm: distance of the grid's voxels along that axis; the smallest of all if oblique.
    """

    contours: tuple[Polygon, ...]
    heights: _Numbers
    frame: Affine
    axis: int | None
    slice_mm: float


@dataclass(frozen=True)
class Slabs:
    """The planes of a structure, in order.

    Attributes:
        heights: (planes,) mm.
        below, above: (planes,) mm, how far each reaches.
        members: for each plane the contours in it, by index.
    """

    heights: _Numbers
    below: _Numbers
    above: _Numbers
    members: tuple[NDArray[np.intp], ...]


class Budget:
    """What is left of the work that a file may cost: damaged ones ask for any amount."""

    def __init__(self, path: Path, grid: Volume) -> None:
        self._path = path
        self._crossings = _MOST_CROSSINGS
        self._pixels = self._most = _SPARE_PIXELS + _TIMES_COVERED * math.prod(grid.shape)

    def spend(self, pixels: int, crossed: int = 0) -> None:
        """Take from it.

        Raises:
            DataError: there is not enough left.
        """
        self._pixels -= pixels
        self._crossings -= crossed
        if self._pixels < 0 or self._crossings < 0:
            raise DataError(
                f"{self._path}: structures may cover {self._most} pixels of the image together and "
                f"cross {_MOST_CROSSINGS} of its rows; these do more. Ask for some of them by "
                "name, or export the file again if it is damaged."
            )


def stack_of(contours: Sequence[_Numbers], grid: Volume, what: str) -> Stack:
    """Return contours, (n, 3) LPS mm each, in the frame in which they are flat.

    Raises:
        DataError: they lie in no parallel planes.
    """
    spacing = grid.spacing_mm
    axis = _axis_across(contours, grid.affine)
    if axis is None:
        frame, slice_mm = _own_frame(contours, grid), min(spacing)
    else:
        rows, columns = (other for other in range(3) if other != axis)
        frame, slice_mm = grid.affine[:, [axis, rows, columns, 3]], spacing[axis]
        frame[:, 0] /= slice_mm
    inverse = np.linalg.inv(frame)
    placed = [points @ inverse[:3, :3].T + inverse[:3, 3] for points in contours]
    if axis is None and max(np.ptp(points[:, 0]) for points in placed) > _UNEVEN_MM:
        raise DataError(
            f"{what}: contours must lie in parallel planes, within {_UNEVEN_MM} mm; these do not. "
            "Draw them again on the slices of one series."
        )
    heights = np.array([points[:, 0].mean() for points in placed])
    return Stack(tuple(points[:, 1:] for points in placed), heights, frame, axis, slice_mm)


def _axis_across(contours: Sequence[_Numbers], affine: Affine) -> int | None:
    """Return the axis of a grid across which all contours are flat, or ``None``."""
    inverse = np.linalg.inv(affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    most = np.maximum(_IN_PLANE, np.minimum(_NEARLY, _UNEVEN_MM / spacing))
    flat = np.ones(3, np.bool_)
    for points in contours:
        flat &= np.ptp(points @ inverse[:3, :3].T, axis=0) <= most
    return int(np.argmax(flat)) if flat.any() else None


def _own_frame(contours: Sequence[_Numbers], grid: Volume) -> Affine:
    """Return a frame in the plane of the largest contour: mm across, quarter voxels within."""
    areas = [_vector_area(points) for points in contours]
    normal = max(areas, key=lambda area: float(np.linalg.norm(area)))
    length = np.linalg.norm(normal)
    normal = normal / length if length > 0 else grid.direction[:, 0]
    # The grid axis that is nearest to the plane, brought into it.
    along = min(grid.direction.T, key=lambda axis: abs(float(axis @ normal)))
    along = along - (along @ normal) * normal
    along /= np.linalg.norm(along)
    pitch = min(grid.spacing_mm) / 4
    frame = np.eye(4)
    frame[:3, 0], frame[:3, 1], frame[:3, 2] = (
        normal,
        np.cross(normal, along) * pitch,
        along * pitch,
    )
    frame[:3, 3] = contours[0][0]
    return frame


def _vector_area(points: _Numbers) -> _Numbers:
    """Return the normal of a polygon (n, 3), as long as its area (Newell)."""
    away = points - points[0]
    return np.asarray(np.cross(away, np.roll(away, -1, axis=0)).sum(axis=0) / 2)


def smallest_step(stacks: Iterable[Stack]) -> float | None:
    """Return the smallest distance in mm of planes of all structures; ``None`` if there is one."""
    heights = np.sort(np.concatenate([stack.heights for stack in stacks]))
    steps = np.diff(heights)
    steps = steps[steps > _SAME_PLANE_MM]
    return float(steps.min()) if len(steps) else None


def slabs_of(stack: Stack, stated_mm: float | None, file_step_mm: float | None) -> Slabs:
    """Return the planes of a structure, and how thick each is.

    Args:
        stack: the contours.
        stated_mm: distance of planes as the file states it, or ``None``.
        file_step_mm: smallest distance between planes of all structures, or ``None``.
    """
    order = np.argsort(stack.heights, kind="stable")
    parts = np.flatnonzero(np.diff(stack.heights[order]) > _SAME_PLANE_MM) + 1
    members = tuple(np.split(order, parts))
    heights = np.array([stack.heights[one].mean() for one in members])
    steps = np.diff(heights)
    told = _own_step(steps) or file_step_mm
    if told is None or told > _WIDEST_STEP_MM:
        told = stack.slice_mm
    usual = stated_mm or told
    reach = np.full(len(steps), usual / 2)
    if not stated_mm and not _are_multiples(steps, usual):
        near = steps <= 2 * usual
        reach[near] = steps[near] / 2
    reach = np.minimum(reach, steps / 2)  # of planes closer than stated, none takes both
    return Slabs(heights, np.r_[usual / 2, reach], np.r_[reach, usual / 2], members)


def _own_step(steps: _Numbers) -> float | None:
    if len(steps) < 2 or not _are_multiples(steps, float(steps.min())):
        return None
    usual = float(steps.min())
    common = np.count_nonzero(steps < (1 + _MULTIPLE) * usual)
    return usual if 2 * common >= len(steps) else None


def _are_multiples(steps: _Numbers, step: float) -> bool:
    share = steps / step
    return bool((np.abs(share - np.rint(share)) <= _MULTIPLE).all())


def voxels(
    stack: Stack, slabs: Slabs, grid: Volume, what: str, budget: Budget
) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """Yield parts of a grid, disjoint, with the mask (z, y, x) of the structure in each.

    Raises:
        DataError: contours with more points and of larger size than can be meant.
    """
    if stack.axis is None:
        yield from _oblique(stack, slabs, grid, what, budget)
        return
    others = [size for axis, size in enumerate(grid.shape) if axis != stack.axis]
    first, last = slices_of(slabs, stack.slice_mm, grid.shape[stack.axis])
    for begin, end, members in zip(first, last, slabs.members, strict=True):
        found = None
        if begin < end:
            found = _filled(stack, members, np.zeros(2), np.array(others, float), budget)
        if found is not None:
            rows, columns, mask = found
            budget.spend(mask.size * int(end - begin - 1))
            sides = [rows, columns]
            sides.insert(stack.axis, slice(int(begin), int(end)))
            deep = np.broadcast_to(mask, (int(end - begin), *mask.shape))
            yield (sides[0], sides[1], sides[2]), np.moveaxis(deep, 0, stack.axis)


def slices_of(
    slabs: Slabs, slice_mm: float, count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first slice of the grid in each slab, and the one after the last."""
    low, high = slabs.heights - slabs.below, slabs.heights + slabs.above
    first, last = (
        np.ceil(np.clip(bound / slice_mm - _TIE, -1, count)).clip(0, count).astype(np.intp)
        for bound in (low, high)
    )
    return first, last


def _filled(
    stack: Stack, members: NDArray[np.intp], first: _Numbers, last: _Numbers, budget: Budget
) -> tuple[slice, slice, NDArray[np.bool_]] | None:
    """Fill the contours in one plane.

    Args:
        stack: the contours.
        members: those in the plane.
        first, last: (v, u) in pixels; what is before and behind is cut off.
        budget: what it costs is taken from.

    Returns:
        Rows, columns (of the frame) and the mask there; ``None`` where it is empty.
    """
    # The same contour twice would undo itself.
    unique = {stack.contours[one].tobytes(): stack.contours[one] for one in members}
    polygons = list(unique.values())
    low = np.floor(np.min([points.min(axis=0) for points in polygons], axis=0)).clip(first, last)
    high = np.ceil(np.max([points.max(axis=0) for points in polygons], axis=0)) + 1
    high = high.clip(first, last)
    height, width = (int(side) for side in high - low)
    if height <= 0 or width <= 0:
        return None
    polygons = [points - low for points in polygons]
    budget.spend(height * width, crossings(polygons, (height, width)))
    mask = fill(polygons, (height, width))
    top, left = int(low[0]), int(low[1])
    return slice(top, top + height), slice(left, left + width), mask


def _oblique(
    stack: Stack, slabs: Slabs, grid: Volume, what: str, budget: Budget
) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """Yield the structure slice by slice of the grid, looked up in the contours' own pixels."""
    inverse = np.linalg.inv(stack.frame)
    to_frame = np.asarray(inverse @ grid.affine, np.float64)
    # Only where the grid is: damaged contours reach for kilometres.
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in grid.shape])).reshape(3, -1)
    places = to_frame[:3, :3] @ corners + to_frame[:3, 3:]
    begin, end = np.floor(places.min(axis=1)) - 1, np.ceil(places.max(axis=1)) + 2
    low = np.floor(np.min([points.min(axis=0) for points in stack.contours], axis=0))
    high = np.ceil(np.max([points.max(axis=0) for points in stack.contours], axis=0)) + 1
    low, high = low.clip(begin[1:], end[1:]), high.clip(begin[1:], end[1:])
    slabs = _between(slabs, begin[0], end[0])
    if not len(slabs.members) or (low >= high).any():
        return
    box = _box(stack, slabs, low, high, np.asarray(np.linalg.inv(to_frame), np.float64), grid.shape)
    if box is None:
        return
    size = (len(slabs.members), *(int(side) for side in high - low))
    if size[0] * float(size[1]) * size[2] > _MOST_FINE_PIXELS:
        raise DataError(
            f"{what}: contours that are oblique to the image are filled in quarter voxels, at most "
            f"{_MOST_FINE_PIXELS}; these need {size[0]} x {size[1]} x {size[2]}. Resample the "
            "image to larger voxels, or the structure onto its own image first."
        )
    fine = np.zeros(size, np.bool_)
    for plane, members in zip(fine, slabs.members, strict=True):
        found = _filled(stack, members, low, high, budget)
        if found is not None:
            rows, columns, mask = found
            top, left = rows.start - int(low[0]), columns.start - int(low[1])
            plane[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    budget.spend(math.prod(part.stop - part.start for part in box))
    bottoms, tops = slabs.heights - slabs.below, slabs.heights + slabs.above
    y, x = np.ogrid[box[1], box[2]]
    for z in range(box[0].start, box[0].stop):
        height, v, u = (row[0] * z + row[1] * y + row[2] * x + row[3] for row in to_frame[:3])
        plane_number = np.searchsorted(bottoms, height, "right") - 1
        row, column = (
            np.rint(place - first).astype(np.intp) for place, first in zip((v, u), low, strict=True)
        )
        inside = (
            (plane_number >= 0)
            & (height < tops[plane_number])
            & (row >= 0) & (row < size[1]) & (column >= 0) & (column < size[2])
        )  # fmt: skip
        mask = np.zeros(inside.shape, np.bool_)
        mask[inside] = fine[plane_number[inside], row[inside], column[inside]]
        yield (slice(z, z + 1), box[1], box[2]), mask[np.newaxis]


def _between(slabs: Slabs, low: float, high: float) -> Slabs:
    """Return the slabs that reach between two heights."""
    kept = np.flatnonzero(
        (slabs.heights + slabs.above >= low) & (slabs.heights - slabs.below <= high)
    )
    return Slabs(
        slabs.heights[kept],
        slabs.below[kept],
        slabs.above[kept],
        tuple(slabs.members[one] for one in kept),
    )


def _box(
    stack: Stack, slabs: Slabs, low: _Numbers, high: _Numbers, to_grid: Affine, shape: Sequence[int]
) -> Box | None:
    """Return the part of the grid that a structure may touch, or ``None``."""
    ends = np.array(
        [
            [slabs.heights[0] - slabs.below[0], *low],
            [slabs.heights[-1] + slabs.above[-1], *high],
        ]
    )
    corners = np.array(np.meshgrid(*ends.T)).reshape(3, -1)
    places = to_grid[:3, :3] @ corners + to_grid[:3, 3:]
    first = np.floor(places.min(axis=1)).clip(0, shape).astype(int)
    last = (np.ceil(places.max(axis=1)) + 1).clip(0, shape).astype(int)
    if (first >= last).any():
        return None
    return (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))
