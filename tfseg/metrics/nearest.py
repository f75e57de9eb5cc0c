"""Exact distances from the surface of a label to the nearest surface voxel in the other map.

The squared distance from a voxel (z, y, x) to a set of target voxels separates by axis
(Felzenszwalb and Huttenlocher 2012, 10.4086/toc.2012.v008a019):

    depth(z, y', x')  = min over z' of the targets in column (y', x') of (sz (z - z'))^2
    across(z, y, x')  = min over y' of depth(z, y', x') + (sy (y - y'))^2
    squared(z, y, x)  = min over x' of across(z, y, x') + (sx (x - x'))^2

A distance transform evaluates this at every voxel of a box around both objects. Here only the
voxels that ask are answered, slice by slice: y' and x' run over the targets' own bounding box, z,
y and x over that of the queries. Neither time nor memory depends on how far the two are apart,
no volume of distances is kept, and what a slice needs stays in the processor's cache.

Most cells of a slice are too far from any target to matter. Each slice is first tried
with a limit, a little more than the farthest answer of the slice before: what lies beyond it
is skipped. An answer within the limit is exact, because all that was skipped is farther away;
queries without one are asked again with twice the limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tfseg.compiled import compiled
from tfseg.metrics.boundary import Boundary


def nearest_distances(
    queries: Boundary, targets: Boundary, label: int, spacing_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each surface voxel of a label to the nearest one of the other map.

    Args:
        queries: surfaces of the map to measure from.
        targets: surfaces of the map to measure to, of the same shape.
        label: 1 to 255.
        spacing_mm: voxel size (z, y, x).

    Returns:
        (queries.counts[label],) mm, in array order; infinite if there is no target.
    """
    distances = np.full(queries.counts[label], np.inf)
    if len(distances) and targets.counts[label]:
        box = targets.boxes[label]
        starts, depths = _columns(targets.labels, label, box, targets.counts[label])
        _search(
            queries.labels,
            targets.labels,
            label,
            queries.boxes[label],
            box,
            starts,
            depths,
            spacing_mm,
            distances,
        )
    return distances


@compiled
def _columns(surface, label, box, count):  # type: ignore[no-untyped-def]
    # The z of the targets in column (y, x) are depths[starts[c]:starts[c + 1]], ascending, with
    # c = (x - x of the box) * height of the box + (y - y of the box).
    (z0, z1), (y0, y1), (x0, x1) = box
    height = y1 - y0
    starts = np.zeros(height * (x1 - x0) + 1, np.int64)
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                if surface[z, y, x] == label:
                    starts[(x - x0) * height + y - y0 + 1] += 1
    for c in range(1, starts.size):
        starts[c] += starts[c - 1]
    free = starts.copy()
    depths = np.empty(count, np.int32)
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                if surface[z, y, x] == label:
                    c = (x - x0) * height + y - y0
                    depths[free[c]] = z
                    free[c] += 1
    return starts, depths


@compiled
def _search(surface, other, label, box, target_box, starts, depths, spacing, distances):  # type: ignore[no-untyped-def]
    (z0, z1), (y0, y1), (x0, x1) = box
    first_y, first_x = target_box[1, 0], target_box[2, 0]
    height, width = target_box[1, 1] - first_y, target_box[2, 1] - first_x
    asks = np.empty((3, (y1 - y0) * (x1 - x0)), np.int64)  # y, x, index into distances
    rows = np.empty((2, y1 - y0 + 1), np.int64)  # y, index of the row's first query
    passed = starts[:-1].copy()
    depth = np.empty(height)
    across = np.empty((y1 - y0, width))
    answers = np.empty(max(y1 - y0, x1 - x0))
    apexes = np.empty(max(height, width), np.int64)
    bounds = np.empty(apexes.size)
    least = 2 * spacing.max()
    limit = least
    done = 0
    for z in range(z0, z1):
        waiting, done = _collect(surface[z], other[z], label, box, done, distances, asks)
        farthest = 0.0
        while waiting:
            square = limit * limit
            count = _rows(asks[0, :waiting], rows)
            for c in range(width):  # each x' of the targets: down its column, then along y
                begin, end = c * height, (c + 1) * height
                _depth(z, starts[begin : end + 1], depths, passed[begin:end], spacing[0], depth)
                _lowest(
                    depth, square, first_y, spacing[1], rows[0, :count], apexes, bounds, answers
                )
                for r in range(count):
                    across[r, c] = answers[r]
            waiting = 0
            for r in range(count):  # each row that asks: along x
                begin, end = rows[1, r], rows[1, r + 1]
                _lowest(
                    across[r], square, first_x, spacing[2], asks[1, begin:end], apexes, bounds,
                    answers,
                )  # fmt: skip
                for k in range(begin, end):
                    answer = answers[k - begin]
                    if answer <= square:
                        distances[asks[2, k]] = np.sqrt(answer)
                        farthest = max(farthest, np.sqrt(answer))
                    else:
                        asks[:, waiting] = asks[:, k]
                        waiting += 1
            limit *= 2
        limit = max(1.25 * farthest, least)


@compiled
def _collect(surface, other, label, box, done, distances, asks):  # type: ignore[no-untyped-def]
    # Lists the queries of a slice; a voxel that is on both surfaces has its answer already.
    count = 0
    for y in range(box[1, 0], box[1, 1]):
        for x in range(box[2, 0], box[2, 1]):
            if surface[y, x] == label:
                if other[y, x] == label:
                    distances[done] = 0.0
                else:
                    asks[0, count], asks[1, count], asks[2, count] = y, x, done
                    count += 1
                done += 1
    return count, done


@compiled
def _rows(ask_y, rows):  # type: ignore[no-untyped-def]
    # Groups ascending y: rows[0] holds each once, rows[1] where it begins; returns how many.
    count = 0
    for k in range(ask_y.size):
        if k == 0 or ask_y[k] != ask_y[k - 1]:
            rows[0, count], rows[1, count] = ask_y[k], k
            count += 1
    rows[1, count] = ask_y.size
    return count


@compiled
def _depth(z, starts, depths, passed, spacing, depth):  # type: ignore[no-untyped-def]
    # depth (y') for one slice and one x'. passed[y'] is the last target of the column at or before
    # z, or its first; slices come in ascending order, so it only moves forward.
    for y in range(depth.size):
        stop = starts[y + 1]
        if starts[y] == stop:
            depth[y] = np.inf
            continue
        at = passed[y]
        while at + 1 < stop and depths[at + 1] <= z:
            at += 1
        passed[y] = at
        nearest = abs(z - depths[at])
        if at + 1 < stop:
            nearest = min(nearest, abs(depths[at + 1] - z))
        depth[y] = (spacing * nearest) ** 2


@compiled
def _lowest(heights, limit, first, spacing, positions, apexes, bounds, result):  # type: ignore[no-untyped-def]
    # result[k] = min over j of heights[j] + (spacing (positions[k] - first - j))^2, heights
    # above the limit left out: the lower envelope of parabolas, read at ascending positions.
    # Parabola apexes[i] is the lowest from bounds[i] to bounds[i + 1].
    square = spacing * spacing
    last = -1
    for j in range(heights.size):
        if heights[j] > limit:
            continue
        bound = -np.inf
        while last >= 0:
            i = apexes[last]
            bound = 0.5 * ((heights[j] - heights[i]) / (square * (j - i)) + i + j)
            if bound > bounds[last]:
                break
            last -= 1
        last += 1
        apexes[last], bounds[last] = j, bound
    if last < 0:
        result[: positions.size] = np.inf
        return
    i = 0
    for k in range(positions.size):
        at = positions[k] - first
        while i < last and bounds[i + 1] < at:
            i += 1
        result[k] = heights[apexes[i]] + square * (at - apexes[i]) ** 2
