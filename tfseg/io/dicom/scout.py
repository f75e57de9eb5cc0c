"""A lone slice of another orientation than the volume beside it: its scout, or one of its slices.

Scanners put the picture that a scan was planned on into its series. A slice whose orientation is
damaged looks much like it; a volume without that slice would be wrong, and nothing would show it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tfseg.io.dicom.frames import FURTHEST_MM, Frame
from tfseg.io.dicom.steps import SAME_PLACE_MM, usual_step

FEWEST_BESIDE = 3  # slices of a volume beside which a lone one is its scout
_ACROSS = 0.5  # cosine of the angle between normals: 60 degrees
_NEXT_TO = 1.5  # steps, or pixels: where the next slice would be, and a little more
_SAME_SPACING_MM = 1e-3

_Vector = NDArray[np.float64]


def belongs(lone: Frame, slices: tuple[Frame, ...]) -> bool:
    """Tell whether a slice may be one of a volume's although its orientation is another.

    It may be where it is as large as they are, does not lie across them, and lies among them or
    where the next one would. A scout is anything else.

    Args:
        lone: a slice of another orientation, or of none.
        slices: the volume, all of one orientation.
    """
    placed = all(abs(number) <= FURTHEST_MM for number in lone.position or (math.nan,))
    if not placed or not all(one.is_placed for one in slices):
        return False  # refused for that
    first = slices[0]
    if (lone.rows, lone.columns) != (first.rows, first.columns):
        return False
    if lone.spacing is not None and first.spacing is not None:
        apart = np.abs(np.array(lone.spacing) - np.array(first.spacing))
        if not (apart <= _SAME_SPACING_MM).all():
            return False
    if not lone.is_placed:
        return lone.orientation is None and _near(lone, slices, np.zeros(2))
    across, normal = _normal(lone), _normal(first)
    if abs(across @ normal) < _ACROSS * np.linalg.norm(across) * np.linalg.norm(normal):
        return False
    # A slice is turned about its first pixel or about its middle.
    return _near(lone, slices, np.zeros(2)) or _near(lone, slices, np.full(2, 0.5))


def _normal(frame: Frame) -> _Vector:
    row, column = np.array(frame.orientation).reshape(2, 3)
    return np.asarray(np.cross(row, column), np.float64)


def _near(lone: Frame, slices: tuple[Frame, ...], share: _Vector) -> bool:
    """Tell whether a point of a slice, in shares of rows and columns, is near those of others."""
    points = np.array([_point(frame, share) for frame in slices])
    normal = _normal(slices[0])
    length = np.linalg.norm(normal)
    if not length > 0:
        return False
    normal = normal / length
    order = np.argsort(points @ normal, kind="stable")
    bottom, top = points[order[0]], points[order[-1]]
    steps = np.diff((points @ normal)[order])
    steps = steps[steps > SAME_PLACE_MM]
    if not len(steps):
        return False
    reach = _NEXT_TO * usual_step(steps)
    away = _point(lone, share) - bottom
    height, extent = float(away @ normal), float((top - bottom) @ normal)
    aside = np.linalg.norm(away - (top - bottom) * height / extent)
    widest = _NEXT_TO * max(slices[0].spacing or (0.0,))
    return bool(-reach <= height <= extent + reach and aside <= max(reach, widest))


def _point(frame: Frame, share: _Vector) -> _Vector:
    """Return where a point of a slice lies, in mm."""
    row, column = np.array(frame.orientation or (0.0,) * 6).reshape(2, 3)
    between_rows, between_columns = frame.spacing or (0.0, 0.0)
    down = share[0] * (frame.rows - 1) * between_rows * column
    along = share[1] * (frame.columns - 1) * between_columns * row
    return np.asarray(np.array(frame.position) + down + along, np.float64)
