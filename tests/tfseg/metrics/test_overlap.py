"""Overlap metrics: values worked by hand, brute force, and the empty rules."""

import numpy as np
import pytest

from tfseg import metrics
from tfseg.errors import DataError
from tfseg.metrics import overlap

# Two 3x3 squares one column apart in 5x5: TP 6, FP 3, FN 3, TN 13.
REFERENCE = np.zeros((5, 5), np.uint8)
REFERENCE[1:4, 1:4] = 1
PREDICTION = np.zeros((5, 5), np.uint8)
PREDICTION[1:4, 2:5] = 1


def counts(reference: np.ndarray, prediction: np.ndarray, k: int = 2) -> metrics.ClassCounts:
    return metrics.ClassCounts.of(metrics.confusion(reference, prediction, k))


def test_confusion_of_the_squares():
    matrix = metrics.confusion(REFERENCE, PREDICTION, 2)
    np.testing.assert_array_equal(matrix, [[13, 3], [3, 6]])
    assert matrix.dtype == np.int64


@pytest.mark.parametrize(
    ("metric", "foreground", "background"),
    [
        (metrics.dice, 12 / 18, 26 / 32),
        (metrics.jaccard, 6 / 12, 13 / 19),
        (metrics.precision, 6 / 9, 13 / 16),
        (metrics.sensitivity, 6 / 9, 13 / 16),
    ],
)
def test_ratios_of_the_squares(metric, foreground, background):
    np.testing.assert_allclose(
        metric(counts(REFERENCE, PREDICTION)), [background, foreground], rtol=1e-15
    )


def test_precision_and_sensitivity_tell_the_maps_apart():
    larger = np.ones((5, 5), np.uint8)  # finds all 9 of the 25 it marks
    found = counts(REFERENCE, larger)
    assert metrics.precision(found)[1] == 9 / 25
    assert metrics.sensitivity(found)[1] == 1.0


@pytest.mark.parametrize("metric", [metrics.dice, metrics.jaccard, metrics.precision])
def test_empty_rules(metric):
    reference = np.array([0, 1, 0, 3], np.uint8)
    prediction = np.array([0, 0, 2, 3], np.uint8)
    scores = metric(counts(reference, prediction, 5))
    assert scores[1] == 0.0  # only in the reference
    assert scores[2] == 0.0  # only in the prediction
    assert scores[3] == 1.0
    assert scores[4] == 1.0  # in neither


def test_against_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(20):
        shape = tuple(rng.integers(1, 7, 3))
        a, b = rng.integers(0, 4, (2, *shape)).astype(np.uint8)
        mask = rng.random(shape) < 0.7
        expected = np.zeros((4, 4), int)
        for index in np.ndindex(*shape):
            if mask[index]:
                expected[a[index], b[index]] += 1
        np.testing.assert_array_equal(metrics.confusion(a, b, 4, mask), expected)


def test_blocks_cover_every_voxel_once(monkeypatch):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, (2, 11, 5, 4)).astype(np.uint8)
    mask = rng.random(a.shape) < 0.5
    whole = metrics.confusion(a, b, 3), metrics.confusion(a, b, 3, mask)
    monkeypatch.setattr(overlap, "_BLOCK_VOX", 50)
    np.testing.assert_array_equal(metrics.confusion(a, b, 3), whole[0])
    np.testing.assert_array_equal(metrics.confusion(a, b, 3, mask), whole[1])
    assert whole[0].sum() == a.size


def test_pairs_of_255_labels_do_not_overflow():
    a = np.array([254, 254, 0], np.uint8)
    b = np.array([254, 0, 254], np.uint8)
    matrix = metrics.confusion(a, b, 255)
    assert matrix[254, 254] == matrix[254, 0] == matrix[0, 254] == 1
    assert matrix.sum() == 3


def test_labels_outside_the_mask_are_not_looked_at():
    a = np.array([0, 1, 200], np.uint8)
    matrix = metrics.confusion(a, a, 2, np.array([True, True, False]))
    np.testing.assert_array_equal(matrix, [[1, 0], [0, 1]])


def test_a_mask_of_nothing_counts_nothing():
    matrix = metrics.confusion(REFERENCE, PREDICTION, 2, np.zeros((5, 5), bool))
    assert matrix.sum() == 0
    np.testing.assert_array_equal(metrics.dice(metrics.ClassCounts.of(matrix)), [1, 1])


def test_volumes_in_millilitres():
    # 9 voxels of 2 x 3 x 4 mm are 216 mm3.
    reference_ml, prediction_ml = metrics.volumes_ml(
        metrics.confusion(REFERENCE, PREDICTION, 2), 2.0 * 3.0 * 4.0
    )
    np.testing.assert_allclose(reference_ml, [16 * 0.024, 0.216])
    np.testing.assert_allclose(prediction_ml, [16 * 0.024, 0.216])


@pytest.mark.parametrize(
    ("reference", "prediction", "k", "mask", "message"),
    [
        (REFERENCE, PREDICTION[:4], 2, None, r"one shape; got \(5, 5\) and \(4, 5\)"),
        (REFERENCE, PREDICTION, 2, np.ones(3, bool), r"reference and mask .* \(3,\)"),
        (REFERENCE * 7, PREDICTION, 2, None, "reference holds the label 7; the labels are 0 to 1"),
        (REFERENCE, PREDICTION.astype(np.int8) * -1, 2, None, "prediction holds the label -1"),
        (REFERENCE, PREDICTION.astype(float), 2, None, "integer labels; got float64"),
        (REFERENCE, PREDICTION, 0, None, "num_classes must be 1 to 255; got 0"),
        (REFERENCE, PREDICTION, 256, None, "num_classes must be 1 to 255; got 256"),
    ],
)
def test_refusals_name_rule_and_value(reference, prediction, k, mask, message):
    with pytest.raises(DataError, match=message):
        metrics.confusion(reference, prediction, k, mask)
