"""Window places and weights: coverage for every size, and a partition of unity."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.inference.windows import window_profile, window_starts, window_weights


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75, 0.9])
def test_every_voxel_is_covered_with_at_least_the_overlap(overlap):
    for size in range(1, 41):
        for window in range(1, 41):
            starts = window_starts(size, window, overlap)
            covered = np.zeros(max(size, window), int)
            for start in starts:
                covered[start : start + window] += 1
            assert covered.min() > 0
            assert starts[0] == 0
            assert starts[-1] == max(0, size - window)
            assert len(covered) == starts[-1] + window
            shared = [a + window - b for a, b in itertools.pairwise(starts)]
            # Windows move by a voxel at least: one of 3 voxels cannot share 2.7 of them.
            least = min(overlap * window, window - 1) - 1e-9
            assert all(window > share >= least for share in shared)


@pytest.mark.parametrize(
    ("size", "window", "overlap", "expected"),
    [
        (10, 10, 0.5, [0]),
        (5, 10, 0.5, [0]),
        (20, 10, 0.5, [0, 5, 10]),
        (21, 10, 0.5, [0, 4, 7, 11]),  # 11 / 3 = 3.67: 0, 3.67, 7.33, 11
        (20, 10, 0.0, [0, 10]),
        (4, 1, 0.5, [0, 1, 2, 3]),  # a 2D network goes slice by slice
        (8, 3, 0.0, [0, 2, 5]),  # 2.5 to the even neighbour
    ],
)
def test_starts_by_hand(size, window, overlap, expected):
    assert window_starts(size, window, overlap) == expected


def test_no_more_windows_than_needed():
    for size in range(1, 60):
        for window in range(1, size):
            step = max(1, window // 2)
            assert len(window_starts(size, window, 0.5)) == -(-(size - window) // step) + 1


def test_profile_is_a_gaussian_with_a_floor():
    # Window 8: sigma 1; voxel centres lie 0.5, 1.5, 2.5, 3.5 from the middle.
    half = np.exp(-0.5 * np.array([3.5, 2.5, 1.5, 0.5]) ** 2)
    np.testing.assert_allclose(window_profile(8), [*half, *half[::-1]])
    assert window_profile(1).tolist() == [1]
    assert window_profile(64).min() == 1e-3 > np.exp(-0.5 * (31.5 / 8) ** 2)
    assert window_profile(9).max() == window_profile(9)[4] == 1


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 200), st.integers(1, 80), st.floats(0, 0.9))
def test_weights_are_a_partition_of_unity(size, window, overlap):
    starts = window_starts(size, window, overlap)
    weights = window_weights(size, window, starts)
    assert weights.shape == (len(starts), window)
    assert weights.dtype == np.float32
    assert weights.min() > 0
    total = np.zeros(max(size, window))
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + window] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
