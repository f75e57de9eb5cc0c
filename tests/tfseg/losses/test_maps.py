"""The U-Net weight map: worked distances, every cell by brute force, and its limits."""

import time

import numpy as np
import pytest
from scipy import ndimage

from tfseg.errors import ConfigError, DataError
from tfseg.losses.maps import unet_weight_map


def by_all_cells(cells, w0, sigma, spacing):
    """One distance transform a cell over the whole image; the two smallest at every voxel."""
    each = [
        ndimage.distance_transform_edt(cells != cell, sampling=spacing)
        for cell in np.unique(cells[cells != 0])
    ]
    if len(each) < 2:
        return np.zeros(cells.shape)
    nearest = np.sort(each, axis=0)
    return w0 * np.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * sigma**2))


def discs(size, count, radius, seed, rank=2):
    """An instance map of discs that may touch: each voxel belongs to the first that covers it."""
    rng = np.random.default_rng(seed)
    grid = np.indices((size,) * rank)
    cells = np.zeros((size,) * rank, np.int32)
    for number in range(1, count + 1):
        centre = rng.uniform(0, size, (rank,) + (1,) * rank)
        inside = ((grid - centre) ** 2).sum(0) < rng.uniform(2, radius) ** 2
        cells[inside & (cells == 0)] = number
    return cells


def test_worked_distances():
    """A gap of five voxels: (d1, d2) are (1, 5), (2, 4), (3, 3); inside a cell (0, 6), ..."""
    labels = np.zeros((1, 9), np.uint8)
    labels[0, :2] = labels[0, 7:] = 1
    weights = unet_weight_map(labels)[0]
    # exp(-(2 + 4)^2 / 50) = .486752 in the whole gap: the distances always sum to 6.
    np.testing.assert_allclose(weights[2:7], 4.867523, atol=1e-6)
    np.testing.assert_allclose(weights[[1, 0]], 10 * np.exp([-36 / 50, -49 / 50]), atol=1e-6)
    assert not unet_weight_map(labels, background_only=True)[0, :2].any()


def test_equal_distances_of_five():
    labels = np.zeros((11, 3), np.uint8)
    labels[0], labels[10] = 1, 1
    assert 1 + unet_weight_map(labels)[5, 1] == pytest.approx(2.353353, abs=1e-6)


@pytest.mark.parametrize("spacing", [None, (0.7, 1.9)])
@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_against_every_cell_in_2d(spacing, sigma):
    cells = discs(70, 25, 7, seed=1)
    found = unet_weight_map(cells, 10, sigma, spacing_mm=spacing, instances=True)
    expected = by_all_cells(cells, 10, sigma, spacing or (1, 1))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert found.max() > 3


@pytest.mark.parametrize("spacing", [None, (3.0, 0.8, 1.1)])
def test_against_every_cell_in_3d(spacing):
    cells = discs(24, 12, 5, seed=2, rank=3)
    found = unet_weight_map(cells, 10, 3, spacing_mm=spacing, instances=True)
    expected = by_all_cells(cells, 10, 3, spacing or (1, 1, 1))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_cells_are_the_components_of_each_class():
    rng = np.random.default_rng(3)
    labels = (rng.uniform(size=(40, 40)) < 0.1) * rng.integers(1, 3, (40, 40))
    cells = np.zeros((40, 40), int)
    for value in (1, 2):
        found, _ = ndimage.label(labels == value, np.ones((3, 3)))
        cells[found != 0] = found[found != 0] + cells.max()
    np.testing.assert_allclose(
        unet_weight_map(labels), by_all_cells(cells, 10, 5, (1, 1)), atol=1e-6
    )


@pytest.mark.parametrize(
    "labels",
    [np.zeros((6, 6), int), np.ones((6, 6), int), np.eye(6, dtype=int), np.ones((1, 1), int)],
)
def test_fewer_than_two_cells_weigh_nothing(labels):
    assert not unet_weight_map(labels).any()


def test_touching_cells_weigh_the_most():
    cells = np.array([[1, 2]])
    # d1 = 0, d2 = 1.
    np.testing.assert_allclose(
        unet_weight_map(cells, instances=True), [[10 * np.exp(-1 / 50)] * 2], atol=1e-6
    )


def test_ignored_voxels_are_no_cell():
    labels = np.array([[1, 0, 255, 0, 0, 1]])
    background = np.array([[1, 0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(
        unet_weight_map(labels, ignore_index=255), unet_weight_map(background)
    )


def test_many_cells_take_no_longer_than_few():
    """Four hundred cells in 512 x 512. A transform a cell would take seconds."""
    cells = discs(512, 400, 12, seed=4)
    unet_weight_map(cells, instances=True)
    start = time.process_time()
    unet_weight_map(cells, instances=True)
    assert time.process_time() - start < 1.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"w0": -1}, "w0 must be finite and at least 0; got -1"),
        ({"sigma": 0}, "sigma must be finite and above 0; got 0"),
        ({"sigma": float("inf")}, "got inf"),
        ({"spacing_mm": (1, 1, 1)}, "spacing_mm must be 2 lengths"),
        ({"spacing_mm": (1, 0)}, r"above 0, one an axis; got \(1.0, 0.0\)"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ConfigError, match=said):
        unet_weight_map(np.zeros((4, 4), int), **options)


def test_labels_that_are_no_labels():
    with pytest.raises(DataError, match="must be integers; got float64"):
        unet_weight_map(np.zeros((4, 4)))
