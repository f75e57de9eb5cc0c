"""Normalisation rules by hand."""

import numpy as np
import pytest

from tfseg.errors import DataError
from tfseg.plan import (
    Channel,
    ClipZScore,
    MinMax,
    NonzeroZScore,
    Percentiles,
    Scale,
    Window,
    ZScore,
)
from tfseg.preprocess import normalise
from tfseg.preprocess.normalise import scaling_of

CT = Channel(name="CT", unit="HU", normalisation=ClipZScore(low=-100, high=300, mean=100, std=50))
MR = Channel(name="MR", normalisation=ZScore())
EIGHT_BIT = Channel(name="red", normalisation=Scale(offset=127.5, scale=127.5))


def column(*values, dtype=np.int16):
    return np.array(values, dtype).reshape(-1, 1, 1, 1)


def test_ct_is_clipped_before_it_is_scaled():
    answer = normalise(column(-1024, -100, 100, 150, 300, 3071), [CT])
    assert answer.dtype == np.float32
    assert answer.ravel().tolist() == [-4, -4, 0, 1, 4, 4]


def test_mr_has_mean_0_and_population_deviation_1():
    # Mean 5, squares of the deviations 9 + 1 + 1 + 9 over 4 voxels: variance 5.
    answer = normalise(column(2, 4, 6, 8), [MR]).ravel()
    np.testing.assert_allclose(answer, np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=1e-6)


def test_photographs_go_to_minus_one_to_one():
    answer = normalise(column(0, 255, dtype=np.uint8), [EIGHT_BIT]).ravel()
    assert answer.tolist() == [-1, 1]


@pytest.mark.parametrize("value", [0, 7, -1000.1, 3e4])
def test_a_constant_volume_becomes_zero(value):
    assert not normalise(np.full((9, 7, 5, 1), value), [MR]).any()


def test_channels_are_normalised_apart():
    array = np.concatenate([column(100, 150), column(10, 20)], axis=-1)
    answer = normalise(array, [CT, MR])
    assert answer[..., 0].ravel().tolist() == [0, 1]
    assert answer[..., 1].ravel().tolist() == [-1, 1]


def test_statistics_do_not_lose_digits_over_many_voxels():
    """2^25 voxels of 1000 and of 1001: a float32 running sum stops growing at 2^24 * 1000."""
    array = np.empty((2**10, 2**8, 2**4, 1), np.float32)
    array[::2], array[1::2] = 1000, 1001
    answer = normalise(array, [MR])
    np.testing.assert_allclose(np.unique(answer), [-1, 1], rtol=1e-5)


def test_the_input_is_left_alone():
    array = column(-1024, 100, dtype=np.float32)
    normalise(array, [CT])
    assert array.ravel().tolist() == [-1024, 100]


def test_another_number_of_channels_is_refused():
    with pytest.raises(DataError, match=r"takes 2 channels \(CT, MR\); the image has 1\. Give"):
        normalise(column(1, 2), [CT, MR])


def one(rule):
    return Channel(name="x", normalisation=rule)


def test_a_window_goes_from_zero_to_one():
    answer = normalise(column(-1000, -200, 400, 1000, 3000), [one(Window(low=-200, high=1000))])
    assert answer.ravel().tolist() == [0, 0, 0.5, 1, 1]


def test_each_volumes_range_goes_from_zero_to_one():
    assert normalise(column(-3, 1, 5), [one(MinMax())]).ravel().tolist() == [0, 0.5, 1]
    assert not normalise(column(4, 4), [one(MinMax())]).any()


def test_zeros_stay_zero_and_count_for_nothing():
    # Of 2, 4, 6, 8: mean 5, variance 5.
    answer = normalise(column(0, 2, 4, 0, 6, 8), [one(NonzeroZScore())]).ravel()
    np.testing.assert_allclose(answer, np.array([0, -3, -1, 0, 1, 3]) / np.sqrt(5), rtol=1e-6)
    assert not normalise(column(0, 0), [one(NonzeroZScore())]).any()


def test_percentiles_are_clipped_before_the_mean_is_taken():
    # The 10th and 90th percentile of 0 to 10 are 1 and 9.
    answer = normalise(column(*range(11)), [one(Percentiles(low=10, high=90))]).ravel()
    clipped = np.arange(11.0).clip(1, 9)
    np.testing.assert_allclose(answer, (clipped - 5) / clipped.std(), rtol=1e-6)


@pytest.mark.parametrize("rule", [Window, Percentiles])
def test_an_empty_range_is_refused(rule):
    with pytest.raises(ValueError, match="low must be below high; got 5"):
        rule(low=5, high=5)


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        (ClipZScore(low=-100, high=300, mean=90, std=40), -100, 300),
        (Window(low=-200, high=250), -200, 250),
        (Scale(offset=7, scale=3), -np.inf, np.inf),
        (ZScore(), -np.inf, np.inf),
        (MinMax(), -np.inf, np.inf),
        (NonzeroZScore(), -np.inf, np.inf),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_normalisation_is_undone_but_for_what_was_clipped(rule, low, high):
    values = np.random.default_rng(0).normal(50, 200, (5, 6, 7)).astype(np.float32)
    values[0] = 0
    scaling = scaling_of(rule, values)
    np.testing.assert_allclose(
        scaling.undo(scaling.apply(values)), values.clip(low, high), rtol=1e-4, atol=1e-3
    )


def test_percentiles_come_back_as_the_bounds():
    values = np.arange(11, dtype=np.float32).reshape(1, 1, 11)
    scaling = scaling_of(Percentiles(low=10, high=90), values)
    back = scaling.undo(scaling.apply(values))
    np.testing.assert_allclose(back, values.clip(1, 9), rtol=1e-6)
