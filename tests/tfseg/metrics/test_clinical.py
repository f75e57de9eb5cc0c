"""Clinical quantities: worked by hand, and beside SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from tfseg.errors import DataError
from tfseg.metrics.clinical import (
    bland_altman,
    cdr_error,
    centroids_mm,
    corr,
    ef,
    id_rate,
    loc_error,
    vertical_cdr,
)


def disc(top, bottom, size=20):
    mask = np.zeros((size, 30), bool)
    mask[top:bottom, 5:25] = True
    return mask


def test_ejection_fraction():
    assert ef(120, 50) == pytest.approx(0.583333, abs=5e-7)
    assert ef(100, 0) == 1.0
    assert ef(50, 60) == pytest.approx(-0.2)
    assert math.isnan(ef(0, 0))


def test_cup_to_disc_ratio():
    assert vertical_cdr(disc(2, 12), disc(5, 9)) == 0.4
    assert vertical_cdr(disc(2, 12), disc(0, 0)) == 0.0
    assert math.isnan(vertical_cdr(disc(0, 0), disc(0, 0)))
    assert cdr_error(disc(2, 12), disc(5, 9), disc(2, 10), disc(4, 10)) == pytest.approx(0.35)
    assert math.isnan(cdr_error(disc(2, 12), disc(5, 9), disc(0, 0), disc(0, 0)))


def test_a_cup_in_two_pieces_spans_from_top_to_bottom():
    assert vertical_cdr(disc(0, 20), disc(2, 4) | disc(8, 10)) == 0.4


def test_correlation():
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    assert corr(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-12)
    assert corr(x, -3 * x + 2) == pytest.approx(-1, rel=1e-12)
    assert corr([1, 2], [5, 9]) == 1.0
    for pair in (([1.0], [2.0]), ([], []), ([0.1, 0.1, 0.1], [1, 2, 3]), ([1, 2], [4, 4])):
        assert math.isnan(corr(*pair))


def test_bland_altman_by_hand():
    # Differences 1, -1, 2, 2: mean 1, squared deviations 0, 4, 1, 1, sd sqrt(2).
    found = bland_altman([10, 20, 30, 40], [11, 19, 32, 42])
    sd = math.sqrt(2)
    assert found.n == 4
    assert found.bias == 1.0
    assert found.sd == pytest.approx(sd, rel=1e-12)
    assert (found.lower, found.upper) == pytest.approx((1 - 1.96 * sd, 1 + 1.96 * sd), rel=1e-12)
    t = 3.182446305284263  # table of Student's t, 0.975, 3 degrees of freedom
    assert found.bias_ci == pytest.approx((1 - t * sd / 2, 1 + t * sd / 2), rel=1e-9)
    reach = t * sd * math.sqrt(1 / 4 + 1.96**2 / 6)
    assert found.upper_ci == pytest.approx((found.upper - reach, found.upper + reach), rel=1e-9)
    assert found.lower_ci == pytest.approx((found.lower - reach, found.lower + reach), rel=1e-9)


def test_bias_interval_is_that_of_the_t_test():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 12))
    interval = stats.ttest_rel(y, x).confidence_interval(0.95)
    assert bland_altman(x, y).bias_ci == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_bland_altman_of_too_few():
    one = bland_altman([3], [5])
    assert (one.n, one.bias) == (1, 2.0)
    assert math.isnan(one.sd)
    assert math.isnan(one.lower_ci[0])
    assert math.isnan(bland_altman([], []).bias)


@pytest.mark.parametrize("function", [corr, bland_altman])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1, 2, 3], "as many on both sides; got 2 and 3"),
        ([1, math.nan], [1, 2], "must be finite"),
        ([1, 2], [1, math.inf], "must be finite"),
    ],
)
def test_pairs_are_checked(function, x, y, message):
    with pytest.raises(DataError, match=message):
        function(x, y)


def test_disc_and_cup_are_checked():
    with pytest.raises(DataError, match=r"2D masks of one shape; got \(20, 30\) and \(10, 30\)"):
        vertical_cdr(disc(1, 2), disc(1, 2, size=10))
    with pytest.raises(DataError, match="2D masks"):
        vertical_cdr(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool))


# --- vertebrae -------------------------------------------------------------------------------

REFERENCE = {1: (0, 0, 0), 2: (30, 0, 0), 3: (60, 0, 0), 4: (90, 0, 0)}


def test_identification():
    prediction = {
        1: (0, 3, 4),  # 5 mm away
        2: (48, 0, 0),  # 18 mm away, but nearer to vertebra 3
        3: (60, 20, 0),  # 20 mm: not within
        9: (90, 0, 0),  # not in the reference
    }
    assert id_rate(REFERENCE, prediction) == 0.25
    assert loc_error(REFERENCE, prediction) == pytest.approx((5 + 18 + 20) / 3)
    assert id_rate(REFERENCE, prediction, limit_mm=20.1) == 0.5


def test_identification_of_nothing():
    assert id_rate(REFERENCE, {}) == 0.0
    assert math.isnan(loc_error(REFERENCE, {}))
    assert math.isnan(id_rate({}, REFERENCE))
    assert id_rate(REFERENCE, REFERENCE) == 1.0
    assert loc_error(REFERENCE, REFERENCE) == 0.0


def test_centroids_of_a_label_map():
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[1, 2, 3] = 1
    labels[2:4, 4:6, 0:2] = 4
    found = centroids_mm(labels, (3.0, 1.0, 0.5))
    assert sorted(found) == [1, 4]
    assert found[1].tolist() == [3.0, 2.0, 1.5]
    assert found[4].tolist() == [7.5, 4.5, 0.25]
    assert centroids_mm(np.zeros((2, 2), np.uint8), (1, 1)) == {}
