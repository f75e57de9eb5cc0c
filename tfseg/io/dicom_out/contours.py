"""Outlines of masks as polygons, and masks from polygons: one slice, in pixels.

A point is (y, x) in pixels, the centre of the first pixel being (0, 0). RT Structure Sets keep
a region as closed polygons (PS3.3 C.8.8.6); a hole is joined to the outline around it by a
channel of no width, the "keyhole" of C.8.8.6.3, because every reader fills such a polygon
rightly, while ``CLOSEDPLANAR_XOR`` is young and many readers know ``CLOSED_PLANAR`` alone.

Outlines run midway between the centres of inner and outer pixels (marching squares of the mask
at one half). Slanted edges are slanted, not stairs; every centre keeps a third of a pixel of
distance, so :func:`fill` gives back the mask exactly, whatever rounding lies between. The area
within is that of the pixels less half a pixel for each outline, plus half for each hole, but
for the 0.005 pixels by which outlines are drawn in, see :func:`_drawn_in`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

import contourpy
import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
_Numbers = NDArray[np.float64]

ON_EDGE = 0.01  # pixels from an edge that still count as on it: coordinates are rounded
_DRAWN_IN = 0.005  # pixels by which outlines are nearer to the inner pixels' centres
_MOST_COMPARED = 256
_EDGES_AT_ONCE = 1 << 18
_MEETINGS_AT_ONCE = 1 << 21


def trace(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Return the outlines of a mask (y, x), one closed polygon (n, 2) a connected region.

    Pixels that touch by a corner only are two regions, as the standard wants no outline that
    crosses itself. The last point joins the first, which is not repeated; points within
    straight edges are left out.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    heights = np.pad(part, 1).astype(np.float64)
    generator = contourpy.contour_generator(
        z=heights, name="serial", fill_type=contourpy.FillType.OuterOffset
    )
    # Of this fill type there are points and offsets, one of each a region.
    regions, starts = cast(
        "tuple[list[Polygon], list[NDArray[np.intp]]]", generator.filled(0.5, np.inf)
    )
    moved = np.array([rows[0] - 1, columns[0] - 1], np.float64)
    found = []
    for points, offsets in zip(regions, starts, strict=True):
        # contourpy gives (x, y), the outer ring first, and repeats the first point of each.
        rings = [points[begin : end - 1, ::-1] for begin, end in pairwise(offsets)]
        ring = _corners(rings[0], np.False_) if len(rings) == 1 else _keyholed(rings)
        found.append(_drawn_in(ring, heights) + moved)
    return found


def _corners(ring: Polygon, kept: NDArray[np.bool_] | np.bool_) -> Polygon:
    """Return a ring without the points in straight edges, but with those of ``kept``.

    Coordinates are exact halves still.
    """
    before = ring - np.roll(ring, 1, axis=0)
    after = np.roll(before, -1, axis=0)
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(ring[turns | kept])


def _keyholed(rings: list[Polygon]) -> Polygon:
    """Join holes to the outline around them; the first ring is that outline.

    From the left one of the topmost points of each hole a channel runs left to the next point
    of any ring. Topmost points lie midway between two rows of pixels, so no channel meets the
    centre of a pixel; and no channel returns to its own hole, so all rings become one.
    """
    rings = [_with_middles(ring) for ring in rings]
    points = np.concatenate(rings)
    order = np.lexsort((points[:, 1], points[:, 0]))
    place = np.empty(len(points), np.intp)
    place[order] = np.arange(len(points))
    following, preceding, start = [], [], 0
    tops = []
    for ring in rings:
        numbers = np.arange(start, start + len(ring))
        following += np.roll(numbers, -1).tolist()
        preceding += np.roll(numbers, 1).tolist()
        tops.append(start + int(np.argmin(place[numbers])))
        start += len(ring)
    copies = list(range(start))  # number -> the point that it is
    for top in tops[1:]:
        anchor = int(order[place[top] - 1])
        # anchor -> top -> ... round the hole ... -> copy of top -> copy of anchor -> onwards
        top_copy, anchor_copy = len(copies), len(copies) + 1
        copies += [top, anchor]
        following += [anchor_copy, following[anchor]]
        preceding += [preceding[top], top_copy]
        preceding[following[anchor]] = anchor_copy
        following[preceding[top]] = top_copy
        following[anchor], preceding[top] = top, anchor
    path, number = [], 0
    for _ in copies:
        path.append(copies[number])
        number = following[number]
    # Both sides of a channel keep their ends, so that they stay one line.
    ends = np.zeros(start, np.bool_)
    ends[copies[start:]] = True
    return _corners(points[path], ends[path])


def _with_middles(ring: Polygon) -> Polygon:
    """Add the middles of edges that cross a line midway between rows, so all meet it in points."""
    ends = np.roll(ring, -1, axis=0)
    # Such an edge runs straight down from one row of pixels to the next.
    crosses = np.flatnonzero(np.abs(ring[:, 0] - ends[:, 0]) == 1)
    return np.insert(ring, crosses + 1, (ring[crosses] + ends[crosses]) / 2, axis=0)


def _drawn_in(ring: Polygon, heights: _Numbers) -> Polygon:
    """Move points between an inner and an outer pixel a little towards the inner one.

    Readers that round points to whole pixels and then fill, edges included, get the very mask.
    Straight edges stay straight, since their points all move by the same amount.
    """
    y, x = ring.T
    row, column = np.floor(ring).astype(np.intp).T
    below = heights[np.ceil(y).astype(np.intp), column] - heights[row, column]
    right = heights[row, np.ceil(x).astype(np.intp)] - heights[row, column]
    # Where both are halves, an edge runs straight down: the inner pixels are left or right of it.
    down = np.where(column == x, below, 0.0)
    return np.asarray(ring + _DRAWN_IN * np.stack([down, right], axis=1))


def fill(polygons: Sequence[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels (y, x) whose centres lie in an odd number of polygons or on an edge.

    A polygon inside another is a hole. Points on the path are part of the region by PS3.3
    C.8.8.6.3; here those within a hundredth of a pixel are, since contours are often drawn
    through the centres of pixels and then rounded.

    Args:
        polygons: points (n, 2) as (y, x) in pixels; the last joins the first. What lies
            outside is cut off.
        shape: of the mask (y, x).
    """
    height, width = shape
    # One more column takes the crossings on the right of the mask.
    crossed = np.zeros((height, width + 1), np.bool_)
    borders = np.zeros((height, width), np.bool_)
    for y0, x0, y1, x1 in _edges(polygons):
        for row, x in _meetings(y0, x0, y1, x1, height, 0.0):
            np.logical_xor.at(crossed, (row, np.ceil(x).clip(0, width).astype(np.intp)), True)
        # Near a centre is what meets its row near it, if steep, or its column, if flat.
        steep = y1 - y0 >= np.abs(x1 - x0)
        for row, x in _meetings(y0[steep], x0[steep], y1[steep], x1[steep], height, ON_EDGE):
            _mark(borders, row, x)
        flat = np.flatnonzero(~steep)
        right = flat[x1[flat] >= x0[flat]]
        left = flat[x1[flat] < x0[flat]]
        for column, y in _meetings(x0[right], y0[right], x1[right], y1[right], width, ON_EDGE):
            _mark(borders.T, column, y)
        for column, y in _meetings(x1[left], y1[left], x0[left], y0[left], width, ON_EDGE):
            _mark(borders.T, column, y)
    inside = np.logical_xor.accumulate(crossed, axis=1)[:, :width]
    return np.asarray(inside | borders)


def within_another(polygons: Sequence[Polygon]) -> bool:
    """Tell whether some polygon begins inside another one; of very many it is not looked at."""
    if not 2 <= len(polygons) <= _MOST_COMPARED:
        return False
    low = np.array([polygon.min(axis=0) for polygon in polygons])
    high = np.array([polygon.max(axis=0) for polygon in polygons])
    inner, outer = np.nonzero(
        (low[:, np.newaxis] > low).all(axis=2) & (high[:, np.newaxis] < high).all(axis=2)
    )
    return any(
        _holds(polygons[large], polygons[small][0])
        for small, large in zip(inner.tolist(), outer.tolist(), strict=True)
    )


def _holds(polygon: Polygon, point: _Numbers) -> bool:
    """Tell whether a point lies inside a polygon, by the edges to its right."""
    ends = np.roll(polygon, -1, axis=0)
    meets = (polygon[:, 0] > point[0]) != (ends[:, 0] > point[0])
    start, end = polygon[meets], ends[meets]
    share = (point[0] - start[:, 0]) / (end[:, 0] - start[:, 0])
    return bool(np.count_nonzero(start[:, 1] + share * (end[:, 1] - start[:, 1]) > point[1]) % 2)


def crossings(polygons: Sequence[Polygon], shape: tuple[int, int]) -> int:
    """Return how many rows and columns of pixels all edges cross: what :func:`fill` costs."""
    total = 0
    for y0, x0, y1, x1 in _edges(polygons):
        for first, last, size in ((y0, y1, shape[0]), (x0, x1, shape[1])):
            total += int(np.abs(last.clip(-1, size) - first.clip(-1, size)).sum()) + len(first)
    return total


def _edges(polygons: Sequence[Polygon]) -> Iterator[tuple[_Numbers, _Numbers, _Numbers, _Numbers]]:
    """Yield y0, x0, y1, x1 of edges, each (n,), in blocks; y0 is never below y1.

    The two sides of a channel then give the very same numbers, and cancel out.
    """
    if not polygons:
        return
    points = np.concatenate(polygons)
    sizes = np.array([len(polygon) for polygon in polygons])
    ends = np.cumsum(sizes)
    following = np.arange(1, len(points) + 1)
    following[ends[sizes > 0] - 1] = (ends - sizes)[sizes > 0]
    for first in range(0, len(points), _EDGES_AT_ONCE):
        start = points[first : first + _EDGES_AT_ONCE]
        end = points[following[first : first + _EDGES_AT_ONCE]]
        down = (start[:, 0] < end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] <= end[:, 1]))
        upper = np.where(down[:, np.newaxis], start, end)
        lower = np.where(down[:, np.newaxis], end, start)
        yield upper[:, 0], upper[:, 1], lower[:, 0], lower[:, 1]


def _meetings(
    a0: _Numbers, b0: _Numbers, a1: _Numbers, b1: _Numbers, size: int, slack: float
) -> Iterator[tuple[NDArray[np.intp], _Numbers]]:
    """Yield (line, b) where edges from (a0, b0) to (a1, b1) meet the lines a = 0, 1, ... size - 1.

    An edge holds its end a0 and not its end a1, so that a path that goes on meets no line
    twice; with ``slack`` (pixels) it is longer by that at both ends. Blocks are of bounded size.
    """
    first = np.ceil(a0 - slack).clip(0, size).astype(np.intp)
    last = np.ceil(a1 + slack).clip(0, size).astype(np.intp)
    count = last - first
    extent = np.where(a1 > a0, a1 - a0, 1.0)
    sums = np.cumsum(count)
    begin = 0
    while begin < len(count):
        done = sums[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(sums, done + _MEETINGS_AT_ONCE, "right")))
        some = count[begin:stop]
        edge = np.repeat(np.arange(begin, stop), some)
        line = np.arange(len(edge)) - np.repeat(np.cumsum(some) - some, some) + first[edge]
        share = ((line - a0[edge]) / extent[edge]).clip(0, 1)
        yield line, b0[edge] + share * (b1[edge] - b0[edge])
        begin = stop


def _mark(borders: NDArray[np.bool_], line: NDArray[np.intp], at: _Numbers) -> None:
    """Set the pixels (line, at) of ``borders`` where ``at`` is near a centre."""
    centre = np.rint(at)
    near = (np.abs(at - centre) <= ON_EDGE) & (centre >= 0) & (centre < borders.shape[1])
    borders[line[near], centre[near].astype(np.intp)] = True
