"""Sliding-window inference in z slabs, with memory bounded by one slab.

A slab is as thick as the window. What no later window touches is final: it is handed on, and
its place is given to slices to come. Full-size class probabilities exist only where asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError, DataError
from tfseg.inference.backend import Backend, Scores, Windows
from tfseg.inference.blending import (
    add_softmax_weighted,
    add_weighted,
    constant,
    interpolate_argmax,
)
from tfseg.inference.windows import Grid
from tfseg.plan import Plan
from tfseg.preprocess.resample import Shape, source_positions

_Neighbours = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Slab:
    """Slices [first, stop) of an image, with final probabilities until the next one is taken.

    Attributes:
        total: (rows, y, x, classes) of the padded image. A slice is in row ``z % rows``; the
            slice before ``first`` is still there.
        grid: of the windows.
    """

    first: int
    stop: int
    total: NDArray[np.float32]
    grid: Grid

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """A copy of them, (stop - first, y, x, classes)."""
        _, y, x = self.grid.before
        _, height, width = self.grid.size
        return self.total[self.rows, y : y + height, x : x + width]

    @property
    def rows(self) -> NDArray[np.intp]:
        """The rows of the slices."""
        return (np.arange(self.first, self.stop) + self.grid.before[0]) % len(self.total)


def slabs(image: NDArray[np.float32], backend: Backend, plan: Plan) -> Iterator[Slab]:
    """Yield slabs that cover ``image`` in order.

    Args:
        image: prepared input (z, y, x, c).
        backend: the network, for windows of exactly the plan's patch size. It is asked for one
            at a time; a 2D network gets one slice at a time.
        plan: patch size and overlap.

    Raises:
        ConfigError: the network does not answer as the plan says.
    """
    grid = Grid.over((image.shape[0], image.shape[1], image.shape[2]), plan)
    depth = grid.window[0]
    total = np.zeros((depth + 1, *grid.padded[1:], plan.num_classes), np.float32)
    add = add_softmax_weighted if backend.streams_logits else add_weighted
    answers = _answers(grid, grid.pad(image), backend, plan)
    z_starts, y_starts, x_starts = grid.starts
    z_weights, y_weights, x_weights = grid.weights
    for index, z in enumerate(z_starts):
        rows = np.arange(z, z + depth) % len(total)
        for row, y in enumerate(y_starts):
            for column, x in enumerate(x_starts):
                weights = z_weights[index], y_weights[row], x_weights[column]
                # No name for the answer: its memory is free for the next one.
                add(next(answers), rows, y, x, *weights, total)
        last = index + 1 == len(z_starts)
        end = z + depth if last else z_starts[index + 1]
        low, high = max(0, z - grid.before[0]), min(end - grid.before[0], grid.size[0])
        if high > low:
            yield Slab(low, high, total, grid)
        if not last:  # all but the last final slice, across which the next slab interpolates
            total[np.arange(z + depth, end + depth) % len(total)] = 0


def segment_array(
    image: NDArray[np.float32],
    backend: Backend,
    plan: Plan,
    shape: Shape | None = None,
    progress: Callable[[float], None] | None = None,
    probabilities: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Return the label map (z, y, x) uint8 of a prepared image, on a grid of ``shape``.

    Probabilities are interpolated linearly to ``shape`` (default: the image's own) and the most
    likely label is taken there; the first wins a tie.

    Args:
        progress: called with the finished share in (0, 1] after every slab.
        probabilities: (\\*shape, classes), written to.

    Raises:
        ConfigError: the network does not answer as the plan says.
        DataError: it answers NaN.
    """
    size = image.shape[:3]
    shape = (size[0], size[1], size[2]) if shape is None else shape
    labels = np.empty(shape, np.uint8)
    if probabilities is None:
        probabilities = np.empty((*shape, 0), np.float32)
    z, y, x = (_neighbours(n, wanted) for n, wanted in zip(size, shape, strict=True))
    done = 0
    for slab in slabs(image, backend, plan):
        last = slab.stop == size[0]
        # Slices of the result whose upper neighbour is there.
        stop = shape[0] if last else int(np.searchsorted(z[1], slab.stop, side="left"))
        first, before = max(0, slab.first - 1), slab.grid.before
        rows = (np.arange(first, slab.stop) + before[0]) % len(slab.total)
        lost = interpolate_argmax(
            slab.total,
            rows,
            (z[0][done:stop] - first, z[1][done:stop] - first, z[2][done:stop]),
            (y[0] + before[1], y[1] + before[1], y[2]),
            (x[0] + before[2], x[1] + before[2], x[2]),
            labels[done:stop],
            probabilities[done:stop],
        )
        if lost:
            raise DataError(
                f"the network's probabilities must be numbers; they are NaN at {lost} voxels of "
                "this image. Its weights are damaged or overflow: train again, or export in fp32."
            )
        done = stop
        if progress is not None:
            progress(slab.stop / size[0])
    return labels


def _neighbours(size: int, wanted: int) -> _Neighbours:
    """Return, for each voxel of an axis, its two neighbours on another and the second's share.

    Without a share the second is the first: nothing has to wait for a slice that does not count.
    """
    position = source_positions(size, wanted)
    low = np.floor(position).astype(np.intp)
    share = (position - low).astype(np.float32)
    return low, low + (share > 0), share


def _answers(
    grid: Grid, padded: NDArray[np.float32], backend: Backend, plan: Plan
) -> Iterator[Scores]:
    """Yield the answer (z, y, x, classes) to every window.

    Where all voxels of windows have one value, as in the air around a patient, the network is
    asked once: to the most frequent such value, whose answer is kept.
    """
    values = [
        constant(grid.cut(padded, corner)) if backend.repeatable else None
        for corner in grid.corners()
    ]
    counts = Counter(value for value in values if value is not None)
    air = max(counts, key=lambda value: counts[value], default=None)

    def asked() -> Iterator[Windows]:
        known = False
        for corner, value in zip(grid.corners(), values, strict=True):
            if value is None or value != air or not known:
                part = grid.cut(padded, corner)
                yield np.ascontiguousarray(part if plan.dims == 2 else part[np.newaxis])
            known = known or (value is not None and value == air)

    answers = backend.stream(asked())
    kept: Scores | None = None
    for value in values:
        if value is None or value != air:
            yield _checked(next(answers), grid, plan)
        else:
            kept = _checked(next(answers), grid, plan) if kept is None else kept
            yield kept


def _checked(answer: Scores, grid: Grid, plan: Plan) -> Scores:
    wanted = (1, *plan.patch_size, plan.num_classes)
    if answer.shape != wanted:
        raise ConfigError(
            f"a network must answer {wanted} for a window of the plan, one probability a voxel and "
            f"label; got {answer.shape}. Use the plan it was trained with, and padding=same."
        )
    return np.ascontiguousarray(answer, np.float32).reshape(*grid.window, plan.num_classes)
