"""Objects one by one: a detector's answers to all windows, joined and drawn.

A window sees an object whole, or cut by its border. Boxes that do not touch a border inside the
scan go first, then by score; one that mostly covers, or is mostly covered by, an earlier one of
its label is the same object again. An object larger than a window stays in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tfseg.geometry import Reorientation
from tfseg.inference.backend import Backend, Detections, Scores, Windows
from tfseg.inference.prediction import Instances
from tfseg.inference.windows import Grid
from tfseg.plan import Plan
from tfseg.preprocess.resample import Shape, source_positions
from tfseg.volume import Volume

SCORE = 0.5  # an object is told from this score on, as the label map shows it
_COVERED = 0.5  # share of the smaller box
_MASK = 0.5


@dataclass(frozen=True)
class Found:
    """A detection in the prepared image.

    Attributes:
        label: value, 1 or above; 0 where the network finds all labels as one.
        score: in [0, 1].
        low: corner (z, y, x) in voxels; voxel i covers [i, i + 1).
        high: the other corner.
        mask: probabilities (z, y, x) of the object on a grid that divides the box evenly, or
            ``None``: the object fills its box.
        cut: whether a window's border, inside the image, cuts it.
    """

    label: int
    score: float
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mask: NDArray[np.float32] | None
    cut: bool


class Finding(Backend):
    """Answers for a detector and keeps what it detects.

    Attributes:
        seen: of every window, in their order.
    """

    repeatable = False  # every window is wanted

    def __init__(self, detector: Backend) -> None:
        self._detector = detector
        self.seen: list[Detections] = []

    def __call__(self, batch: Windows) -> Scores:
        """Return the probabilities of a batch of one."""
        probabilities, detections = self._detector.detect(batch)
        self.seen.append(detections)
        return probabilities


def instances_of(
    seen: Sequence[Detections],
    plan: Plan,
    size: Shape,
    volume: Volume,
    shape: Shape,
    way: Reorientation,
) -> Instances:
    """Return the objects in a volume.

    Args:
        seen: in each window of the prepared image.
        plan: of the network.
        size: (z, y, x) of the prepared image.
        volume: as it was read.
        shape: (z, y, x) of the volume in canonical orientation.
        way: from its own orientation to that.
    """
    numbers, drawn = draw_instances(find_instances(seen, size, plan), size, shape)
    result = volume.with_array(np.ascontiguousarray(way.undo(numbers)))
    return Instances(result, describe_instances(result.array, drawn, plan.labels, volume.affine))


def find_instances(seen: Iterable[Detections], size: Shape, plan: Plan) -> list[Found]:
    """Return the objects in a prepared image of ``size`` (z, y, x), best first.

    Args:
        seen: in each of its windows, in their order.
        size: of the image.
        plan: of the network.
    """
    grid = Grid.over(size, plan)
    found = [
        one
        for corner, detections in zip(grid.corners(), seen, strict=True)
        for one in _look(detections, np.array(corner) - np.array(grid.before), size, plan)
    ]
    found.sort(key=lambda one: (one.cut, -one.score))
    kept: list[Found] = []
    for one in found:
        if not any(one.label == other.label and _same(one, other) for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: -one.score)


def draw_instances(
    found: Sequence[Found], size: Shape, shape: Shape
) -> tuple[NDArray[np.uint16], list[Found]]:
    """Draw objects, best first: a voxel is of the first object whose mask has it.

    Args:
        found: best first.
        size: (z, y, x) of the prepared image.
        shape: (z, y, x) to draw on; voxels are taken from the nearest of ``size``.

    Returns:
        (z, y, x) number of each voxel's object, from 1 on, 0 for none; the objects in the order
        of their numbers. Those without a voxel of their own are left out.
    """
    drawn = np.zeros(size, np.uint16)
    for number, one in enumerate(found, start=1):
        where, inside = _extent(one, size)
        target = drawn[where]
        target[inside & (target == 0)] = number
    nearest = [
        np.floor(source_positions(have, wanted) + 0.5).astype(int)
        for have, wanted in zip(size, shape, strict=True)
    ]
    numbers = drawn[np.ix_(*nearest)]
    there = [number for number in np.unique(numbers) if number]
    renumbered = np.zeros(len(found) + 1, np.uint16)
    renumbered[there] = np.arange(1, len(there) + 1)
    return renumbered[numbers], [found[number - 1] for number in there]


def describe_instances(
    numbers: NDArray[np.uint16], found: Sequence[Found], names: Sequence[str], affine: Any
) -> list[dict[str, Any]]:
    """Return what is told of each object: label, score, box and volume on the scan's own grid.

    Args:
        numbers: (z, y, x) of the scan.
        found: in the order of their numbers.
        names: of the label values.
        affine: 4x4 of the scan: voxel (z, y, x, 1) -> LPS mm (x, y, z, 1).
    """
    voxel_ml = abs(np.linalg.det(np.asarray(affine)[:3, :3])) / 1000
    boxes = ndimage.find_objects(numbers.astype(np.int32))
    counts = np.bincount(numbers.ravel(), minlength=len(found) + 1)
    documents = []
    for number, one in enumerate(found, start=1):
        where = boxes[number - 1]
        low, high = [part.start for part in where], [part.stop for part in where]
        # Corners of the box, not centres of its voxels.
        corners = np.array([[*(np.array(end) - 0.5), 1.0] for end in (low, high)])
        first, last = (corners @ np.asarray(affine).T)[:, :3]
        documents.append(
            {
                "id": number,
                "label": names[one.label] if one.label else "foreground",
                "value": one.label or None,
                "score": round(one.score, 4),
                "box_vox": [[int(n) for n in low], [int(n) for n in high]],
                "box_lps_mm": [[round(float(n), 3) for n in corner] for corner in (first, last)],
                "volume_ml": round(float(counts[number]) * voxel_ml, 4),
            }
        )
    return documents


def _look(
    detections: Detections, corner: NDArray[np.int64], extent: Shape, plan: Plan
) -> Iterator[Found]:
    """Yield what the window at ``corner`` shows, in voxels of the image."""
    boxes, scores, labels, *masks = (part[0] for part in detections if part is not None)
    window = np.array((1,) * (3 - plan.dims) + plan.patch_size)
    size = np.array(extent)
    flat = [0.0] * (3 - plan.dims), [1.0] * (3 - plan.dims)
    merged = bool(masks) and masks[0].shape[-1] > 1
    for index in np.flatnonzero(scores >= SCORE):
        ends = np.split(boxes[index].astype(float), 2)
        low, high = (np.array([*first, *end]) for first, end in zip(flat, ends, strict=True))
        inner = ((low < 0.5) & (corner > 0)) | ((high > window - 0.5) & (corner + window < size))
        mask = masks[0][index].sum(axis=-1) if masks else None
        if mask is not None and plan.dims == 2:
            mask = mask[np.newaxis]
        low, high = np.clip(low + corner, 0, size), np.clip(high + corner, 0, size)
        if (high > low).all():
            cut = bool(inner[3 - plan.dims :].any())
            label = 0 if merged else int(labels[index])
            yield Found(label, float(scores[index]), low, high, mask, cut)


def _same(one: Found, other: Found) -> bool:
    sides = np.minimum(one.high, other.high) - np.maximum(one.low, other.low)
    common = np.prod(np.maximum(sides, 0))
    smaller = min(np.prod(one.high - one.low), np.prod(other.high - other.low))
    return bool(common > _COVERED * smaller)


def _extent(one: Found, size: Shape) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """Return the part of the image that the object's box touches, and its voxels in it."""
    first = np.floor(one.low).astype(int)
    last = np.minimum(np.ceil(one.high).astype(int), size)
    where = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    centres = [np.arange(a, b) + 0.5 for a, b in zip(first, last, strict=True)]
    if one.mask is None:
        sides = [
            (centre > low) & (centre < high)
            for centre, low, high in zip(centres, one.low, one.high, strict=True)
        ]
        return where, np.asarray(sides[0][:, None, None] & sides[1][:, None] & sides[2])
    places = [
        (centre - low) / (high - low) * cells - 0.5
        for centre, low, high, cells in zip(centres, one.low, one.high, one.mask.shape, strict=True)
    ]
    grid = np.meshgrid(*places, indexing="ij")
    # Zero around the mask, as the network draws it.
    value = ndimage.map_coordinates(one.mask, grid, order=1, mode="grid-constant")
    return where, np.asarray(value > _MASK)
