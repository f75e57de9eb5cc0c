"""Denoising of one channel (z, y, x): Gaussian, median, non-local means. Edges are mirrored."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tfseg.steps import Gaussian, Median, NonLocalMeans

TRUNCATE = 4.0  # standard deviations after which a Gaussian ends

# Immerkaer's mask: the difference of two Laplacians, blind to planes. Of white noise of deviation
# s its answer has deviation 6 s, and mean size 6 s sqrt(2 / pi).
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
NOISE_FACTOR = float(np.sqrt(np.pi / 2) / 6)
NOISE_FLOOR = 1e-8  # of a volume without noise: only equal patches are averaged


def smooth_gaussian(values: NDArray[np.float32], step: Gaussian) -> NDArray[np.float32]:
    """Return (z, y, x) smoothed."""
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(
        values, step.sigma_vox, mode="mirror", truncate=TRUNCATE
    )
    return smooth


def gaussian_weights(sigma_vox: float) -> NDArray[np.float64]:
    """Return the weights (2 r + 1,) of a Gaussian along one axis; they add up to 1."""
    radius = int(TRUNCATE * sigma_vox + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_vox) ** 2)
    normed: NDArray[np.float64] = weights / weights.sum()
    return normed


def smooth_median(values: NDArray[np.float32], step: Median) -> NDArray[np.float32]:
    """Return the median of the box around each voxel of (z, y, x)."""
    smooth: NDArray[np.float32] = ndimage.median_filter(values, size=step.size_vox, mode="mirror")
    return smooth


def noise_std(values: NDArray[np.float32]) -> float:
    """Return the standard deviation of white noise in (z, y, x), estimated within slices.

    Voxels at the volume's minimum are left out: masked air has no noise.
    """
    lowest = values.min()
    total, count = 0.0, 0
    for plane in values:
        inside = plane > lowest
        response = ndimage.correlate(plane, NOISE_MASK, mode="mirror")
        total += float(np.abs(response[inside]).sum(dtype=np.float64))
        count += int(inside.sum())
    return max(NOISE_FACTOR * total / max(count, 1), NOISE_FLOOR)


def smooth_nonlocal(values: NDArray[np.float32], step: NonLocalMeans) -> NDArray[np.float32]:
    """Return non-local means of (z, y, x), slice by slice."""
    sigma = noise_std(values)
    return np.stack([_nonlocal_slice(plane, step, sigma) for plane in values])


def _nonlocal_slice(
    plane: NDArray[np.float32], step: NonLocalMeans, sigma: float
) -> NDArray[np.float32]:
    search, patch = step.search_radius_vox, step.patch_radius_vox
    height, width = plane.shape
    around = np.pad(plane, search + patch, mode="reflect")

    def moved(dy: int, dx: int, margin: int) -> NDArray[np.float32]:
        y, x = search + patch + dy - margin, search + patch + dx - margin
        return around[y : y + height + 2 * margin, x : x + width + 2 * margin]

    here = moved(0, 0, patch)
    weighted, weights = np.zeros_like(plane), np.zeros_like(plane)
    for dy, dx in itertools.product(range(-search, search + 1), repeat=2):
        distance = _box_mean(np.square(moved(dy, dx, patch) - here), 2 * patch + 1)
        beyond_noise = np.maximum(distance - np.float32(2 * sigma**2), np.float32(0))
        weight = np.exp(-beyond_noise / np.float32((step.strength * sigma) ** 2))
        weighted += weight * moved(dy, dx, 0)
        weights += weight
    return weighted / weights


def _box_mean(array: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return the means of all boxes of ``size`` x ``size`` that fit into ``array``."""
    height, width = (edge - size + 1 for edge in array.shape)
    rows = sum((array[k : k + height] for k in range(1, size)), array[:height])
    total = sum((rows[:, k : k + width] for k in range(1, size)), rows[:, :width])
    mean: NDArray[np.float32] = total / np.float32(size**2)
    return mean
