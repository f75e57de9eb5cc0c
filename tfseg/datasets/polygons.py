"""Contours of annotation files as masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError

_MAX_POINTS = 1_000_000  # of one file of contours


def fill(polygons: Iterable[NDArray[np.floating]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centres lie inside closed polygons, by the even-odd rule.

    Args:
        polygons: points (n, 2) as (x, y) in pixels, the centre of the first pixel being (0, 0);
            the last point joins the first. A polygon inside another is a hole.
        shape: of the mask (y, x); what lies outside is cut off.

    A pixel on an edge belongs to the polygon on its lower right.
    """
    height, width = shape
    crossed = np.zeros((height, width + 1), np.bool_)
    for points in polygons:
        start = np.asarray(points, np.float64)
        for (x0, y0), (x1, y1) in zip(start, np.roll(start, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            top, bottom = sorted((y0, y1))
            rows = np.arange(max(0, int(np.ceil(top))), min(height, int(np.ceil(bottom))))
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            columns = np.ceil(at).clip(0, width).astype(int)
            crossed[rows, columns] ^= True  # a row is met once by an edge
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(crossed, axis=1)[:, :width]
    return inside


def read_points(path: Path) -> NDArray[np.float64]:
    """Read a text file of one point ``x y`` a line.

    Raises:
        DataError: missing, no numbers, or more than a million points.
    """
    points = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    x, y = (float(word) for word in line.split()[:2])
                    points.append((x, y))
                if len(points) > _MAX_POINTS:
                    raise DataError(f"{path}: a contour has at most {_MAX_POINTS} points.")
    except FileNotFoundError:
        raise DataError(f"{path}: the contour file is missing. Restore it.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: a contour must hold 'x y' in each line ({error}).") from error
    if not np.isfinite(points).all():
        raise DataError(f"{path}: a contour must hold finite numbers.")
    return np.array(points, np.float64).reshape(-1, 2)
