"""Histogram steps against OpenCV's answers, empirical distributions and numbers by hand."""

import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.preprocess.histograms import (
    clahe,
    hist_equalise,
    hist_match,
    landmarks_of,
    move_landmarks,
)
from tfseg.steps import Clahe, HistEqualise, HistMatch

# Every 12th row and 11th column (small), every 100th (large) of what OpenCV 5.0.0 makes of the
# pictures below: equalizeHist, and createCLAHE with clip limits 256 and 2 on 4 x 4 and 2 x 2
# tiles. OpenCV rounds twice to 8 bits; ours are not rounded.
OPENCV_EQUALISED = [
    [0, 10, 60, 106, 197],
    [32, 26, 78, 148, 212],
    [100, 122, 141, 207, 16],
    [205, 221, 236, 32, 131],
    [78, 100, 146, 188, 0],
    [16, 10, 60, 132, 255],
]
OPENCV_UNLIMITED = [
    [68, 76, 127, 94, 190],
    [162, 101, 132, 155, 208],
    [133, 152, 119, 167, 50],
    [188, 208, 229, 38, 114],
    [66, 88, 140, 194, 10],
    [33, 33, 79, 147, 255],
]
OPENCV_LIMITED = [
    [1, 36, 82, 33, 71, 29],
    [22, 211, 27, 205, 32, 204],
    [50, 14, 63, 27, 72, 39],
    [77, 182, 98, 195, 114, 212],
    [19, 73, 46, 101, 75, 127],
    [43, 154, 79, 9, 115, 45],
]


def small():
    """61 x 45, which 4 tiles do not divide."""
    y, x = np.mgrid[:61, :45]
    picture = (x * x // 11 + y * y // 7 + (x * 7 + y * 13) % 23) % 256
    picture = picture * picture // 255
    picture[0, 0], picture[-1, -1] = 0, 255
    return picture[np.newaxis].astype(np.float32)


def large():
    """512 x 512: OpenCV spreads what it cuts in whole counts, which matters in small tiles."""
    y, x = np.mgrid[:512, :512]
    picture = (x * y // 97 + (x * 7 + y * 13) % 61) % 200
    picture[0, 0], picture[-1, -1] = 0, 255
    return picture[np.newaxis].astype(np.float32)


def test_equalisation_is_opencvs():
    answer = hist_equalise(small(), HistEqualise())[0, ::12, ::11] * 255
    np.testing.assert_allclose(answer, OPENCV_EQUALISED, atol=0.51)


def test_clahe_is_opencvs():
    unlimited = clahe(small(), Clahe(tiles=4, clip_limit=256))[0, ::12, ::11] * 255
    np.testing.assert_allclose(unlimited, OPENCV_UNLIMITED, atol=1.01)
    limited = clahe(large(), Clahe(tiles=2, clip_limit=2))[0, ::100, ::100] * 255
    np.testing.assert_allclose(limited, OPENCV_LIMITED, atol=1.01)


def test_equalised_values_are_ranks():
    """With as many levels as values: the share of the others that are smaller."""
    scan = np.random.default_rng(0).permutation(60).reshape(3, 4, 5).astype(np.float32)
    answer = hist_equalise(scan, HistEqualise(levels=60))
    np.testing.assert_allclose(answer, scan / 59, rtol=1e-6)


def test_equalisation_is_linear_between_levels():
    # Levels 0, 5 and 10; 4 counts 0.2 for 0 and 0.8 for 5. So 1.2, 1.8, 1; of the 2.8 above the
    # lowest level the curve reaches 1.8 and 2.8.
    scan = np.array([0, 4, 5, 10], np.float32).reshape(1, 1, 4)
    answer = hist_equalise(scan, HistEqualise(levels=3)).ravel()
    np.testing.assert_allclose(answer, [0, 0.8 * 1.8 / 2.8, 1.8 / 2.8, 1], rtol=1e-6)


def test_equalisation_knows_nothing_of_unit_and_offset():
    scan = np.random.default_rng(0).exponential(size=(4, 9, 8)).astype(np.float32)
    moved = (scan * 4 - 64).astype(np.float32)
    one, other = (hist_equalise(each, HistEqualise()) for each in (scan, moved))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("step", [HistEqualise(levels=16), Clahe(tiles=2, levels=16)])
def test_rounding_before_it_moves_nothing_to_another_level(step):
    """A served graph's smoothing differs in the last digit; few voxels make each one count."""
    scan = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    moved = np.nextafter(scan, np.float32(np.inf))
    moved[0, 0, 0], moved[-1, -1, -1] = 0, 31
    equalise = hist_equalise if isinstance(step, HistEqualise) else clahe
    np.testing.assert_allclose(equalise(moved, step), equalise(scan, step), rtol=0, atol=1e-5)


def test_a_tile_by_hand():
    """Counts 5, 3, 0, 0; the limit is 1.5 mean counts, 3: 2 are cut, each level gets 1/2."""
    scan = np.array([0, 0, 0, 0, 3, 1, 1, 0], np.float32).reshape(1, 2, 4)
    step = Clahe(tiles=1, clip_limit=1.5, levels=4)
    # Counts 5, 2, 0, 1: cut to 3, 2, 0, 1, spread 2 / 4; sums 3.5, 6, 6.5, 8 of 8.
    expected = {0: 3.5 / 8, 1: 6 / 8, 3: 1}
    answer = clahe(scan, step)
    np.testing.assert_allclose(answer, np.vectorize(expected.get)(scan), rtol=1e-6)


def test_a_limit_of_one_leaves_all_counts_alike_where_all_are_reached():
    """Every count at its mean: the curve is a straight line."""
    scan = np.tile(np.arange(8, dtype=np.float32), (1, 8, 1))
    answer = clahe(scan, Clahe(tiles=1, clip_limit=1, levels=8))
    np.testing.assert_allclose(answer, (scan + 1) / 8, rtol=1e-6)


def test_slices_are_equalised_apart_in_the_volumes_range():
    slices = np.random.default_rng(0).integers(0, 50, (2, 16, 16)).astype(np.float32)
    slices[1] += 100
    slices[:, 0, 0] = 0, 149
    both = clahe(slices, Clahe(tiles=2))
    changed = slices.copy()
    changed[1, 5, 5] = 120
    np.testing.assert_array_equal(clahe(changed, Clahe(tiles=2))[0], both[0])


def test_landmarks_are_percentiles_of_what_is_above_the_mean():
    scan = np.random.default_rng(0).gamma(2, 50, (6, 30, 20)).astype(np.float32)
    scan[:3] = 0
    above = scan[scan > scan.mean(dtype=float)]
    percentiles = (0, 1, 25, 50, 80, 99, 100)
    expected = np.percentile(above.astype(float), percentiles)
    answer = landmarks_of(scan, percentiles)
    # NumPy's lies between order statistics, ours in a histogram's bin: both within a gap.
    gaps = np.interp(expected, np.sort(above)[1:], np.diff(np.sort(above)))
    assert (np.abs(answer - expected) <= 2 * gaps + np.ptp(scan) / 65536).all()


def test_landmarks_of_integers_are_the_integers():
    scan = np.repeat(np.array([0, 0, 0, 10, 20, 30], np.float32), 50).reshape(3, 10, 10)
    marks = landmarks_of(scan, (1, 50, 90))  # above 10: fifty times 20, fifty times 30
    np.testing.assert_allclose(marks, [20, 20, 30], atol=21 / 65536)


def test_a_matched_volume_has_the_landmarks():
    scan = np.random.default_rng(0).gamma(3, 40, (5, 40, 40)).astype(np.float32)
    wanted = (0, 20, 25, 70, 100)
    step = HistMatch(percentiles=(2, 25, 50, 75, 98), landmarks=wanted)
    matched = hist_match(scan, step)
    brighter = hist_match(scan * 7 + 3, step)
    # Another scale and offset of the scanner: no difference any more.
    np.testing.assert_allclose(matched, brighter, atol=0.02)
    above = matched[scan > scan.mean()]
    np.testing.assert_allclose(np.percentile(above, step.percentiles), wanted, atol=0.5)
    order = np.argsort(scan, axis=None)
    assert (np.diff(matched.ravel()[order]) >= -1e-4).all()


def test_moving_landmarks_by_hand_and_back():
    source, target = np.array([10.0, 20, 40]), np.array([0.0, 100, 110])
    values = np.array([0, 10, 15, 20, 30, 60], np.float32).reshape(1, 2, 3)
    moved = move_landmarks(values, source, target)
    assert moved.ravel().tolist() == [-100, 0, 50, 100, 105, 120]
    np.testing.assert_allclose(move_landmarks(moved, target, source), values, rtol=1e-6)


def test_equal_landmarks_divide_by_nothing():
    values = np.array([4, 5, 6], np.float32).reshape(1, 1, 3)
    moved = move_landmarks(values, np.array([5.0, 5, 6]), np.array([0.0, 1, 2]))
    assert moved.ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("value", [0, -7.25, 3e4])
def test_constant_volumes(value):
    scan = np.full((2, 5, 6), value, np.float32)
    assert not hist_equalise(scan, HistEqualise()).any()
    for answer in (
        clahe(scan, Clahe(tiles=8)),
        hist_match(scan, HistMatch(percentiles=(0, 100), landmarks=(3, 9))),
    ):
        assert np.isfinite(answer).all()
        assert np.ptp(answer) == 0


def test_matching_without_landmarks_is_refused():
    with pytest.raises(ConfigError, match="must have landmarks; got none"):
        hist_match(np.zeros((1, 1, 1), np.float32), HistMatch())
