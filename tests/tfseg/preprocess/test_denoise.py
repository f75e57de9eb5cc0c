"""Denoising by hand, by brute force, and on noise of a known size."""

import numpy as np
import pytest
from scipy import ndimage

from tfseg.preprocess.denoise import (
    gaussian_weights,
    noise_std,
    smooth_gaussian,
    smooth_median,
    smooth_nonlocal,
)
from tfseg.steps import Gaussian, Median, NonLocalMeans


def test_a_gaussian_spreads_a_point():
    point = np.zeros((1, 13, 13), np.float32)
    point[0, 6, 6] = 100
    answer = smooth_gaussian(point, Gaussian(sigma_vox=(0, 1, 0.5)))
    # exp(-1/2) of the middle one voxel away along y, exp(-2) along x; nothing is lost.
    assert answer.sum() == pytest.approx(100, rel=1e-5)
    assert answer[0, 5, 6] / answer[0, 6, 6] == pytest.approx(np.exp(-0.5), rel=1e-5)
    assert answer[0, 6, 7] / answer[0, 6, 6] == pytest.approx(np.exp(-2), rel=1e-5)


def test_gaussian_weights_end_at_four_deviations():
    weights = gaussian_weights(1.5)
    assert weights.size == 2 * 6 + 1
    assert weights.sum() == pytest.approx(1)
    assert weights[5] / weights[6] == pytest.approx(np.exp(-0.5 / 1.5**2))


def test_an_axis_with_deviation_zero_is_left_alone():
    scan = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
    flat = smooth_gaussian(scan, Gaussian(sigma_vox=(0, 2, 0)))
    alone = smooth_gaussian(scan[2:3, :, 3:4], Gaussian(sigma_vox=(0, 2, 0)))
    np.testing.assert_array_equal(flat[2:3, :, 3:4], alone)


def test_a_median_removes_salt_and_pepper_and_keeps_edges():
    step_edge = np.zeros((3, 8, 8), np.float32)
    step_edge[:, :, 4:] = 10
    noisy = step_edge.copy()
    noisy[1, 2, 1], noisy[0, 5, 6] = 99, -99
    np.testing.assert_array_equal(smooth_median(noisy, Median()), step_edge)


def test_a_median_looks_along_z_where_it_is_told_to():
    column = np.array([5, 1, 9, 2, 7], np.float32).reshape(-1, 1, 1)
    answer = smooth_median(column, Median(size_vox=(3, 1, 1)))
    # Mirrored at the ends: 1 5 1 | 5 1 9 | 1 9 2 | 9 2 7 | 2 7 2.
    assert answer.ravel().tolist() == [1, 5, 2, 7, 2]


@pytest.mark.parametrize("sigma", [0.5, 20])
def test_noise_is_found_beside_slow_structure_and_masked_air(sigma):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :80]
    slow = 200 + 3 * y + 50 * np.sin(x / 20)
    scan = (slow + rng.normal(0, sigma, (4, 80, 80))).astype(np.float32)
    # sin(x / 20) is not quite a plane: its curvature of 50 / 400 adds little.
    assert noise_std(scan) == pytest.approx(sigma, rel=0.1)
    scan[:, :40] = 0
    assert noise_std(scan) == pytest.approx(sigma, rel=0.1 if sigma > 1 else 20)
    assert noise_std(np.full((2, 5, 5), 7, np.float32)) == pytest.approx(1e-8)


def brute_force_nonlocal(plane, strength, search, patch):
    """One loop a voxel, one a neighbour; float64."""
    around = np.pad(plane.astype(float), search + patch, mode="reflect")
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    inside = plane > plane.min()
    response = ndimage.convolve(plane.astype(float), mask, mode="mirror")
    sigma = np.sqrt(np.pi / 2) / 6 * np.abs(response[inside]).mean()
    answer = np.empty(plane.shape)

    def box(y, x, radius):
        return around[y - radius : y + radius + 1, x - radius : x + radius + 1]

    for row, column in np.ndindex(plane.shape):
        y, x = row + search + patch, column + search + patch
        total = weights = 0.0
        for dy in range(-search, search + 1):
            for dx in range(-search, search + 1):
                d2 = ((box(y, x, patch) - box(y + dy, x + dx, patch)) ** 2).mean()
                weight = np.exp(-max(d2 - 2 * sigma**2, 0) / (strength * sigma) ** 2)
                total += weight * around[y + dy, x + dx]
                weights += weight
        answer[row, column] = total / weights
    return answer


@pytest.mark.parametrize(("search", "patch", "strength"), [(1, 1, 1.0), (2, 1, 0.7), (1, 2, 2.0)])
def test_nonlocal_means_against_brute_force(search, patch, strength):
    plane = np.random.default_rng(2).normal(50, 10, (9, 7)).astype(np.float32)
    plane[:, 3:] += 60
    step = NonLocalMeans(strength=strength, search_radius_vox=search, patch_radius_vox=patch)
    answer = smooth_nonlocal(plane[np.newaxis], step)[0]
    expected = brute_force_nonlocal(plane, strength, search, patch)
    np.testing.assert_allclose(answer, expected, rtol=2e-5)


def test_nonlocal_means_take_half_the_noise_and_leave_the_edge():
    rng = np.random.default_rng(0)
    clean = np.zeros((2, 48, 48))
    clean[:, :, 24:] = 100
    noisy = (clean + rng.normal(0, 5, clean.shape)).astype(np.float32)
    answer = smooth_nonlocal(noisy, NonLocalMeans())
    assert (answer - clean).std() < 2.5
    assert np.abs((answer - clean)[:, :, 22:26].mean(axis=(0, 1))).max() < 1.5


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (3, 1, 4)])
def test_tiny_volumes(shape):
    scan = np.full(shape, 4.5, np.float32)
    for smooth, step in (
        (smooth_gaussian, Gaussian(sigma_vox=(2, 2, 2))),
        (smooth_median, Median(size_vox=(5, 5, 5))),
        (smooth_nonlocal, NonLocalMeans()),
    ):
        np.testing.assert_allclose(smooth(scan, step), scan, rtol=1e-6)
