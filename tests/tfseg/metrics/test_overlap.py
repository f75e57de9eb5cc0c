"""Metrics of four counts: values worked by hand, their identities, and every empty rule."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfseg import metrics
from tfseg.metrics import MetricOptions, image, overlap, size

NAN = math.nan
# Two 3x3 squares one column apart in 5x5, as counts: TP 6, FP 3, FN 3, TN 13.
SQUARES = np.array([[13, 3], [3, 6]])


def one(metric, tp, fp, fn, tn, **options):
    counts = metrics.ClassCounts(*(np.array([n]) for n in (tp, fp, fn, tn)))
    return float(metric(counts, MetricOptions(**options))[0])


@pytest.mark.parametrize(
    ("metric", "foreground", "background"),
    [
        (overlap.dice, 12 / 18, 26 / 32),
        (overlap.jaccard, 6 / 12, 13 / 19),
        (overlap.voe, 6 / 12, 6 / 19),
        (overlap.sensitivity, 6 / 9, 13 / 16),
        (overlap.specificity, 13 / 16, 6 / 9),
        (overlap.precision, 6 / 9, 13 / 16),
        (overlap.accuracy, 19 / 25, 19 / 25),
        (overlap.gmean, math.sqrt(6 / 9 * 13 / 16), math.sqrt(6 / 9 * 13 / 16)),
        # Chance agreement (9 * 9 + 16 * 16) / 625 = 0.5392.
        (overlap.kappa, (0.76 - 0.5392) / 0.4608, (0.76 - 0.5392) / 0.4608),
        (overlap.mcc, (6 * 13 - 9) / 144, (6 * 13 - 9) / 144),
        (overlap.sa, 100 * (1 - 6 / 9), 100 * (1 - 6 / 16)),
        (overlap.or_rate, 3 / 12, 3 / 19),
        (overlap.ur_rate, 3 / 12, 3 / 19),
        (size.rvd, 0, 0),
        (size.arvd, 0, 0),
    ],
)
def test_values_of_the_squares(metric, foreground, background):
    np.testing.assert_allclose(
        metric(metrics.ClassCounts.of(SQUARES)), [background, foreground], rtol=1e-14
    )


def test_printed_values_of_the_squares():
    """The figures as the surveys' tables round them."""
    counts = metrics.ClassCounts.of(SQUARES)
    expected = {
        overlap.dice: 0.666667,
        overlap.sa: 33.3333,
        overlap.kappa: 0.479167,
        overlap.mcc: 0.479167,
        overlap.gmean: 0.735980,
    }
    for metric, value in expected.items():
        assert metric(counts)[1] == pytest.approx(value, rel=2e-6)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (image.pixel_acc, 0.76),
        (image.mean_acc, (6 / 9 + 13 / 16) / 2),
        (image.mean_iou, 0.592105),
        (image.fw_iou, 9 / 25 * 0.5 + 16 / 25 * 13 / 19),
        (image.kappa_image, 0.479167),
    ],
)
def test_values_of_the_whole_image(metric, value):
    assert metric(SQUARES) == pytest.approx(value, rel=1e-6)


def test_three_classes_of_a_whole_image():
    # Class 3 is in neither map and does not count; class 2 only in the prediction.
    matrix = np.array([[4, 1, 1, 0], [2, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert image.pixel_acc(matrix) == 6 / 10
    assert image.mean_acc(matrix) == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert image.mean_iou(matrix) == pytest.approx((4 / 8 + 2 / 5 + 0) / 3)
    assert image.fw_iou(matrix) == pytest.approx(0.6 * 4 / 8 + 0.4 * 2 / 5)
    by_chance = 0.6 * 0.6 + 0.4 * 0.3
    assert image.kappa_image(matrix) == pytest.approx((0.6 - by_chance) / (1 - by_chance))


def test_kappa_of_an_image_of_one_label():
    assert image.kappa_image(np.array([[9, 0], [0, 0]])) == 1.0


def test_a_mask_of_nothing_scores_what_both_empty_says():
    nothing = np.zeros((2, 2), np.int64)
    for metric in (
        image.pixel_acc, image.mean_acc, image.mean_iou, image.fw_iou, image.kappa_image
    ):  # fmt: skip
        assert metric(nothing) == 1.0
        assert math.isnan(metric(nothing, MetricOptions(both_empty="nan")))


# Each metric: in neither map; only in the reference (5 voxels of 20); only in the prediction.
EMPTY_RULES = {
    overlap.dice: (1, 0, 0),
    overlap.jaccard: (1, 0, 0),
    overlap.voe: (0, 1, 1),
    overlap.sensitivity: (1, 0, 0),
    overlap.specificity: (1, 1, 0.75),
    overlap.precision: (1, 0, 0),
    overlap.accuracy: (1, 0.75, 0.75),
    overlap.gmean: (1, 0, 0),
    overlap.kappa: (1, 0, 0),
    overlap.mcc: (1, 0, 0),
    overlap.sa: (100, 0, NAN),
    overlap.or_rate: (0, 0, 1),
    overlap.ur_rate: (0, 1, 0),
    size.rvd: (0, -1, NAN),
    size.arvd: (0, 1, NAN),
}


@pytest.mark.parametrize("metric", EMPTY_RULES, ids=lambda metric: metric.__name__)
def test_empty_rules(metric):
    neither, only_reference, only_prediction = EMPTY_RULES[metric]
    assert one(metric, 0, 0, 0, 20) == neither
    assert math.isnan(one(metric, 0, 0, 0, 20, both_empty="nan"))
    assert one(metric, 0, 0, 5, 15) == pytest.approx(only_reference, abs=1e-15)
    assert one(metric, 0, 5, 0, 15) == pytest.approx(only_prediction, nan_ok=True, abs=1e-15)


@pytest.mark.parametrize(
    ("metric", "full"),
    [(overlap.specificity, 1), (overlap.kappa, 1), (overlap.mcc, 1), (overlap.gmean, 1)],
)
def test_both_maps_hold_nothing_but_the_class(metric, full):
    assert one(metric, 20, 0, 0, 0) == full


def test_a_prediction_of_the_whole_map_is_no_better_than_chance():
    assert one(overlap.mcc, 5, 15, 0, 0) == 0
    assert one(overlap.kappa, 5, 15, 0, 0) == 0
    assert one(overlap.specificity, 5, 15, 0, 0) == 0


def test_segmentation_accuracy_by_size_alone():
    assert one(overlap.sa, 6, 3, 3, 13, sa_mode="area") == 100
    assert one(overlap.sa, 6, 0, 3, 13, sa_mode="area") == pytest.approx(100 * 6 / 9)
    assert one(overlap.sa, 1, 9, 1, 9) == pytest.approx(100 * (1 - 10 / 2))


def test_volumes_and_their_differences():
    # 8 voxels against 6 of 2 x 3 x 4 mm.
    counts = metrics.ClassCounts.of(np.array([[10, 1], [3, 5]]))
    assert size.rvd(counts)[1] == -0.25
    assert size.arvd(counts)[1] == 0.25
    np.testing.assert_allclose(size.volume_diff(counts, 24.0), [0.048, -0.048])
    np.testing.assert_allclose(size.avd(counts, 24.0), [0.048, 0.048])
    reference_ml, prediction_ml = metrics.volumes_ml(np.array([[10, 1], [3, 5]]), 24.0)
    np.testing.assert_allclose(reference_ml, [11 * 0.024, 8 * 0.024])
    np.testing.assert_allclose(prediction_ml, [13 * 0.024, 6 * 0.024])


def test_counts_of_the_largest_scans_do_not_overflow():
    # Products of four such counts are near 10**38.
    n = 4 * 10**9
    assert one(overlap.mcc, n, n // 2, n // 2, n) == pytest.approx((1 - 0.25) / 2.25)
    assert one(overlap.kappa, n, n // 2, n // 2, n) == pytest.approx(1 / 3)


COUNT = st.integers(0, 10**6)


@given(tp=COUNT, fp=COUNT, fn=COUNT, tn=COUNT)
def test_identities(tp, fp, fn, tn):
    d, j = one(overlap.dice, tp, fp, fn, tn), one(overlap.jaccard, tp, fp, fn, tn)
    assert d == pytest.approx(2 * j / (1 + j))
    assert one(overlap.voe, tp, fp, fn, tn) == pytest.approx(1 - j)
    rates = one(overlap.or_rate, tp, fp, fn, tn) + one(overlap.ur_rate, tp, fp, fn, tn)
    assert rates + j == pytest.approx(1)
    # What is symmetric in the two maps stays; precision and sensitivity change places.
    for metric in (overlap.dice, overlap.jaccard, overlap.accuracy, overlap.kappa, overlap.mcc):
        assert one(metric, tp, fp, fn, tn) == pytest.approx(one(metric, tp, fn, fp, tn))
        assert -1 - 1e-9 <= one(metric, tp, fp, fn, tn) <= 1 + 1e-9
    assert one(overlap.precision, tp, fp, fn, tn) == one(overlap.sensitivity, tp, fn, fp, tn)
    if tp + fn and tn + fp:
        assert one(overlap.specificity, tp, fp, fn, tn) == one(overlap.sensitivity, tn, fn, fp, tp)
