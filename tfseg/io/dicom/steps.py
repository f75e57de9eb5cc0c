"""Distances between the slices of a stack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAME_PLACE_MM = 1e-2
STEP_TOLERANCE = 0.02  # of the slice distance: far above rounding, far below a lost slice

_Vector = NDArray[np.float64]


def usual_step(steps: _Vector) -> float:
    """Return the step (mm) that most others agree with; the smaller where two are as common."""
    ordered = np.sort(steps)
    slack = np.maximum(STEP_TOLERANCE * ordered, SAME_PLACE_MM)
    agree = np.searchsorted(ordered, ordered + slack, "right") - np.searchsorted(
        ordered, ordered - slack, "left"
    )
    return float(ordered[int(np.argmax(agree))])


def irregular(steps: _Vector, usual: float) -> NDArray[np.bool_]:
    """Tell which steps (mm) are not the usual one, beyond rounding."""
    return np.asarray(np.abs(steps - usual) > max(STEP_TOLERANCE * usual, SAME_PLACE_MM))
