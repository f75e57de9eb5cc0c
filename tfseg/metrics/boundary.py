"""The surface voxels of every label of a map, found in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfseg.compiled import compiled
from tfseg.metrics.counts import Labels


@dataclass(frozen=True, eq=False)
class Boundary:
    """The surfaces of all labels of one map.

    Attributes:
        labels: uint8, the map's shape (z, y, x): the label where a voxel is on its label's
            surface, else 0.
        counts: (256,) int64, surface voxels of each label.
        boxes: (256, 3, 2) int64, for each axis the first voxel of each label and the one after
            its last; of a label that is not there, nothing to rely on.
    """

    labels: Labels
    counts: NDArray[np.int64]
    boxes: NDArray[np.int64]


def find_boundary(labels: Labels) -> Boundary:
    """Return the surface voxels of every label but 0.

    A voxel is on its label's surface if one of its six neighbours has another label or lies
    beyond the array. Axes of one voxel are left out; an array of one voxel is all surface.

    Args:
        labels: (z, y, x), C order.
    """
    surface = np.empty_like(labels)
    counts = np.zeros(256, np.int64)
    boxes = np.empty((256, 3, 2), np.int64)
    boxes[..., 0] = np.iinfo(np.int64).max
    boxes[..., 1] = 0
    _find(labels, surface, counts, boxes)
    return Boundary(surface, counts, boxes)


@compiled
def _find(labels, surface, counts, boxes):  # type: ignore[no-untyped-def]
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            row = labels[z, y]
            out = surface[z, y]
            at_border = (
                labels.size == 1
                or (depth > 1 and (z == 0 or z == depth - 1))
                or (height > 1 and (y == 0 or y == height - 1))
            )
            if at_border:
                out[:] = row
            else:
                # Along an axis of one voxel the row is its own neighbour.
                above = labels[z - 1, y] if depth > 1 else row
                below = labels[z + 1, y] if depth > 1 else row
                before = labels[z, y - 1] if height > 1 else row
                after = labels[z, y + 1] if height > 1 else row
                if width > 1:
                    out[0] = row[0]
                    out[-1] = row[-1]
                    _compare(
                        row[1:-1], row[:-2], row[2:],
                        above[1:-1], below[1:-1], before[1:-1], after[1:-1], out[1:-1],
                    )  # fmt: skip
                else:
                    _compare(row, row, row, above, below, before, after, out)
            _tally(out, z, y, counts, boxes)


@compiled
def _compare(row, left, right, above, below, before, after, out):  # type: ignore[no-untyped-def]
    # No branch, and bytes throughout: the compiler makes it a loop over 32 voxels at a time.
    for i in range(row.size):
        here = row[i]
        same = (
            (here == left[i])
            & (here == right[i])
            & (here == above[i])
            & (here == below[i])
            & (here == before[i])
            & (here == after[i])
        )
        out[i] = np.uint8(0) if same else here


@compiled
def _tally(row, z, y, counts, boxes):  # type: ignore[no-untyped-def]
    for x in range(row.size):
        label = row[x]
        if label:
            counts[label] += 1
            box = boxes[label]
            box[0, 0] = min(box[0, 0], z)
            box[0, 1] = max(box[0, 1], z + 1)
            box[1, 0] = min(box[1, 0], y)
            box[1, 1] = max(box[1, 1], y + 1)
            box[2, 0] = min(box[2, 0], x)
            box[2, 1] = max(box[2, 1], x + 1)
