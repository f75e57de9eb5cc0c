"""Where sliding windows stand and how they are weighted. Pure functions.

Windows form a product grid, so weights factor by axis and are scaled per axis to a partition
of unity: blending needs no division afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.plan import Plan
from tfseg.preprocess.resample import Shape

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


@dataclass(frozen=True, eq=False)
class Grid:
    """The windows over an image, in the order in which they are asked for: z, then y, then x.

    Attributes:
        size: (z, y, x) of the image.
        window: (z, y, x); the slices of a 2D network are windows one voxel thick.
        padded: (z, y, x) of the image with zeros around it where it is smaller than a window.
        before: (z, y, x), how many of these zeros come first.
        starts: of the windows along each axis, in voxels of the padded image.
        weights: of the windows along each axis, (windows, voxels).
    """

    size: Shape
    window: Shape
    padded: Shape
    before: Shape
    starts: tuple[list[int], ...]
    weights: tuple[NDArray[np.float32], ...]

    @classmethod
    def over(cls, size: Shape, plan: Plan) -> Grid:
        """Return the windows of a plan over an image (z, y, x)."""
        window = ((1,) * (3 - plan.dims) + plan.patch_size)[:3]
        sides = list(zip(size, window, strict=True))
        starts = tuple(window_starts(extent, width, plan.overlap) for extent, width in sides)
        weights = tuple(
            window_weights(extent, width, start)
            for (extent, width), start in zip(sides, starts, strict=True)
        )
        z, y, x = (max(extent, width) for extent, width in sides)
        first, second, third = (max(0, width - extent) // 2 for extent, width in sides)
        return cls(
            size, (window[0], window[1], window[2]), (z, y, x), (first, second, third),
            starts, weights,
        )  # fmt: skip

    def pad(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the image (z, y, x, c) with zeros around it where it is smaller."""
        if self.padded == self.size:
            return image
        margins = [
            (low, wide - low - narrow)
            for low, wide, narrow in zip(self.before, self.padded, self.size, strict=True)
        ]
        return np.pad(image, [*margins, (0, 0)])

    def corners(self) -> Iterator[Shape]:
        """Yield the first voxel of every window in the padded image."""
        return product(*self.starts)  # type: ignore[return-value]  # three axes

    def cut(self, padded: NDArray[Any], corner: Shape) -> NDArray[Any]:
        """Return a window (z, y, x, c) of the padded image, a view."""
        z, y, x = (slice(low, low + width) for low, width in zip(corner, self.window, strict=True))
        return padded[z, y, x]
