"""Where sliding windows stand and how they are weighted. Pure functions.

Windows form a product grid, so weights factor by axis and are scaled per axis to a partition
of unity: blending needs no division afterwards.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_SIGMA = 1 / 8  # of the window's size (Isensee et al. 2021, nnU-Net)
_FLOOR = 1e-3  # a voxel that only a corner sees still gets a usable weight


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Return the first voxel of every window along an axis.

    Every voxel is covered, neighbours overlap by at least ``overlap``, and the starts are
    spread evenly. An axis shorter than the window gets one window at 0; the caller pads.

    Args:
        size: voxels of the axis.
        window: voxels of the window.
        overlap: share in [0, 1) of a window that the next one covers at least.
    """
    if size <= window:
        return [0]
    step = max(1, math.floor(window * (1 - overlap)))
    count = math.ceil((size - window) / step) + 1
    return [int(start) for start in np.round(np.linspace(0, size - window, count))]


def window_profile(window: int) -> NDArray[np.float64]:
    """Return the Gaussian weight of each voxel of a window along one axis, in (0, 1]."""
    centred = (np.arange(window) - (window - 1) / 2) / (window * _SIGMA)
    return np.maximum(np.exp(-0.5 * centred**2), _FLOOR)


def window_weights(size: int, window: int, starts: list[int]) -> NDArray[np.float32]:
    """Return (len(starts), window) weights that sum to 1 over the windows at every voxel."""
    profile = window_profile(window)
    total = np.zeros(max(size, window))
    for start in starts:
        total[start : start + window] += profile
    return np.stack([profile / total[start : start + window] for start in starts]).astype(
        np.float32
    )
