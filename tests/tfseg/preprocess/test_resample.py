"""Resampling against SciPy at half-pixel centres."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tfseg.preprocess import resample_linear, resample_nearest, resampled_shape
from tfseg.preprocess.resample import (
    cubic_weights,
    linear_axes,
    resample_cubic,
    resample_labels_linear,
)


def positions(old, new):
    return [(np.arange(n) + 0.5) * o / n - 0.5 for o, n in zip(old, new, strict=True)]


SIZES = [
    ((5, 6, 7), (10, 3, 7)),
    ((4, 4, 4), (9, 5, 11)),
    ((9, 8, 7), (3, 4, 2)),
    ((1, 5, 1), (4, 1, 3)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("channels", [(), (2,)])
def test_linear_against_scipy(old, new, channels):
    array = np.random.default_rng(0).normal(size=(*old, *channels)).astype(np.float32)
    grid = np.meshgrid(*positions(old, new), indexing="ij")
    planes = array.reshape(*old, -1)
    expected = np.stack(
        [
            ndimage.map_coordinates(planes[..., c].astype(float), grid, order=1, mode="nearest")
            for c in range(planes.shape[-1])
        ],
        axis=-1,
    ).reshape(*new, *channels)
    answer = resample_linear(array, new)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_nearest_takes_the_voxel_that_holds_the_centre(old, new):
    array = np.random.default_rng(0).integers(0, 200, old).astype(np.uint8)
    # Voxel k holds positions k - 1/2 to k + 1/2; a centre on the border goes to the upper one.
    index = [
        np.clip(np.floor(place + 0.5), 0, size - 1).astype(int)
        for place, size in zip(positions(old, new), old, strict=True)
    ]
    answer = resample_nearest(array, new)
    assert answer.dtype == np.uint8
    np.testing.assert_array_equal(answer, array[np.ix_(*index)])


@pytest.mark.parametrize("resample", [resample_linear, resample_nearest])
def test_the_same_size_is_exact(resample):
    array = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(resample(array, (3, 4, 5)), array)


def test_integers_are_interpolated_as_numbers():
    assert resample_linear(np.array([[[0, 3]]], np.int16), (1, 1, 3)).ravel().tolist() == [
        0,
        1.5,
        3,
    ]


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 20)] * 3), st.integers(0, 99)
)
def test_linear_stays_within_the_range_and_keeps_constants(old, new, seed):
    array = np.random.default_rng(seed).normal(size=old).astype(np.float32)
    answer = resample_linear(array, new)
    assert answer.shape == new
    assert array.min() - 1e-6 <= answer.min() <= answer.max() <= array.max() + 1e-6
    np.testing.assert_array_equal(
        resample_linear(np.full(old, 0.3, np.float32), new), np.float32(0.3)
    )
    assert set(np.unique(resample_nearest(array, new))) <= set(np.unique(array))


@pytest.mark.parametrize(
    ("size", "source", "target", "expected"),
    [
        (10, 1.0, 2.0, 5),
        (10, 1.0, 1.0, 10),
        (5, 1.0, 2.0, 2),  # 2.5 to the even neighbour
        (7, 1.0, 2.0, 4),  # 3.5 to the even neighbour
        (1, 1.0, 10.0, 1),  # never nothing
        (2, 1.0, 100.0, 1),
        (512, 0.7, 0.7004, 512),  # 0.06 % is header rounding ...
        (512, 0.7, 0.7014, 511),  # ... 0.2 % is another grid
        (2000, 1.0, 0.9991, 2000),
        (100, 0.1, np.float64(np.float32(0.1)), 100),
    ],
)
def test_size_keeps_the_extent(size, source, target, expected):
    assert resampled_shape((size,) * 3, (source,) * 3, (target,) * 3) == (expected,) * 3


def test_spacing_is_taken_as_float32():
    """Half of 5 * 0.3 mm over 0.3 mm: float32(0.3) lifts 2.5 above the tie, to 3."""
    assert 5 * (0.3 / 0.6) == 2.5
    assert 5 * (float(np.float32(0.3)) / 0.6) > 2.5
    assert resampled_shape((5, 5, 5), (0.3,) * 3, (0.6,) * 3) == (3, 3, 3)


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("channels", [(), (2,)])
def test_cubic_against_scipy(old, new, channels):
    array = np.random.default_rng(0).normal(size=(*old, *channels)).astype(np.float32)
    grid = np.meshgrid(*positions(old, new), indexing="ij")
    clipped = [np.clip(axis, 0, size - 1) for axis, size in zip(grid, old, strict=True)]
    planes = array.reshape(*old, -1)
    expected = np.stack(
        [
            ndimage.map_coordinates(planes[..., c].astype(float), clipped, order=3, mode="mirror")
            for c in range(planes.shape[-1])
        ],
        axis=-1,
    ).reshape(*new, *channels)
    answer = resample_cubic(array, new)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, atol=2e-6)


def test_cubic_keeps_a_parabola_where_linear_cuts_it():
    """Far from the mirrored ends cubic splines reproduce polynomials of degree 3."""
    curve = (np.arange(40.0) ** 2).reshape(40, 1, 1)
    exact = positions((40,), (80,))[0] ** 2
    inner = slice(30, 50)
    cubic, linear = (f(curve, (80, 1, 1)).ravel() for f in (resample_cubic, resample_linear))
    np.testing.assert_allclose(cubic[inner], exact[inner], rtol=1e-5)
    assert np.abs(linear - exact)[inner].min() > 0.18  # 3 / 16 at a quarter of a voxel


def test_cubic_is_linear_along_axes_that_are_told():
    array = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
    answer = resample_cubic(array, (9, 6, 5), linear=(True, False, False))
    np.testing.assert_array_equal(answer, resample_linear(array, (9, 6, 5)))


@pytest.mark.parametrize(
    ("spacing_mm", "expected"),
    [
        ((1.0, 1.0, 1.0), (False, False, False)),
        ((3.0, 1.0, 1.0), (False, False, False)),
        ((2.1, 0.7, 0.7), (False, False, False)),  # three times, whatever the last digit says
        ((5.0, 0.7, 0.7), (True, False, False)),
        ((1.0, 1.0, 0.3), (True, True, False)),
    ],
)
def test_axes_too_coarse_for_cubic(spacing_mm, expected):
    assert linear_axes(spacing_mm) == expected


def test_cubic_weights_by_hand():
    expected = [[1 / 6, 2 / 3, 1 / 6, 0], [1 / 48, 23 / 48, 23 / 48, 1 / 48]]
    np.testing.assert_allclose(cubic_weights(np.array([0, 0.5])), expected, atol=1e-15)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_labels_by_the_greatest_share_against_scipy(old, new):
    labels = np.random.default_rng(0).integers(0, 4, old).astype(np.uint8) * 20
    grid = np.meshgrid(*positions(old, new), indexing="ij")
    shares = np.stack(
        [
            ndimage.map_coordinates((labels == value).astype(float), grid, order=1, mode="nearest")
            for value in (0, 20, 40, 60)
        ]
    )
    answer = resample_labels_linear(labels, new)
    assert answer.dtype == np.uint8
    best = np.sort(shares, axis=0)
    decided = best[-1] - best[-2] > 1e-6  # ties go to the lowest label, but for rounding
    np.testing.assert_array_equal(answer[decided], 20 * shares.argmax(axis=0)[decided])


def test_the_lowest_of_equal_labels_wins():
    halves = np.array([3, 1], np.uint8).reshape(1, 1, 2)
    assert resample_labels_linear(halves, (1, 1, 1)).item() == 1
    np.testing.assert_array_equal(resample_labels_linear(halves, (1, 1, 2)), halves)
