"""The confusion matrix: by hand, by brute force, in every form that label maps come in."""

import numpy as np
import pytest

from tfseg import metrics
from tfseg.errors import DataError
from tfseg.metrics.counts import relabel

# Two 3x3 squares one column apart in 5x5: TP 6, FP 3, FN 3, TN 13.
REFERENCE = np.zeros((5, 5), np.uint8)
REFERENCE[1:4, 1:4] = 1
PREDICTION = np.zeros((5, 5), np.uint8)
PREDICTION[1:4, 2:5] = 1


def brute_confusion(a, b, k, mask=None):
    expected = np.zeros((k, k), int)
    for index in np.ndindex(*a.shape):
        if mask is None or mask[index]:
            expected[a[index], b[index]] += 1
    return expected


def test_confusion_of_the_squares():
    matrix = metrics.confusion(REFERENCE, PREDICTION, 2)
    np.testing.assert_array_equal(matrix, [[13, 3], [3, 6]])
    assert matrix.dtype == np.int64


def test_counts_of_each_class_against_the_rest():
    counts = metrics.ClassCounts.of(np.array([[5, 1, 0], [2, 7, 3], [0, 4, 0]]))
    np.testing.assert_array_equal(counts.tp, [5, 7, 0])
    np.testing.assert_array_equal(counts.fp, [2, 5, 3])
    np.testing.assert_array_equal(counts.fn, [1, 5, 4])
    np.testing.assert_array_equal(counts.tn, [14, 5, 15])
    np.testing.assert_array_equal(counts.reference, [6, 12, 4])
    np.testing.assert_array_equal(counts.prediction, [7, 12, 3])
    assert not counts.absent.any()


def test_against_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(20):
        shape = tuple(rng.integers(1, 7, 3))
        a, b = rng.integers(0, 4, (2, *shape)).astype(np.uint8)
        mask = rng.random(shape) < 0.7
        np.testing.assert_array_equal(metrics.confusion(a, b, 4), brute_confusion(a, b, 4))
        np.testing.assert_array_equal(
            metrics.confusion(a, b, 4, mask), brute_confusion(a, b, 4, mask)
        )


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int32, np.int64])
def test_any_integer_type_counts_the_same(dtype):
    matrix = metrics.confusion(REFERENCE.astype(dtype), PREDICTION, 2)
    np.testing.assert_array_equal(matrix, [[13, 3], [3, 6]])


@pytest.mark.parametrize(
    "view",
    [lambda m: np.asfortranarray(m), lambda m: m[::-1, ::2], lambda m: m.transpose(1, 0)],
    ids=["Fortran order", "flipped and strided", "transposed"],
)
def test_memory_layout_does_not_matter(view):
    rng = np.random.default_rng(2)
    a, b, mask = rng.integers(0, 2, (3, 6, 8)).astype(np.uint8)
    expected = brute_confusion(view(a), view(b), 2, view(mask))
    np.testing.assert_array_equal(metrics.confusion(view(a), view(b), 2, view(mask)), expected)


def test_pairs_of_255_labels_do_not_overflow():
    a = np.array([254, 254, 0], np.uint8)
    b = np.array([254, 0, 254], np.uint8)
    matrix = metrics.confusion(a, b, 255)
    assert matrix[254, 254] == matrix[254, 0] == matrix[0, 254] == 1
    assert matrix.sum() == 3


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_labels_outside_the_mask_are_not_looked_at(dtype):
    a = np.array([0, 1, 200], dtype)
    matrix = metrics.confusion(a, a, 2, np.array([True, True, False]))
    np.testing.assert_array_equal(matrix, [[1, 0], [0, 1]])


def test_a_mask_of_nothing_counts_nothing():
    matrix = metrics.confusion(REFERENCE, PREDICTION, 2, np.zeros((5, 5), bool))
    assert matrix.sum() == 0
    assert metrics.ClassCounts.of(matrix).absent.all()


def test_no_voxels_at_all():
    empty = np.zeros((0, 4), np.uint8)
    assert metrics.confusion(empty, empty, 2).sum() == 0


def test_relabel_is_a_table_lookup():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 256, (3, 4, 5)).astype(np.uint8)
    table = rng.permutation(256).astype(np.uint8)
    np.testing.assert_array_equal(relabel(labels[:, ::-1], table), table[labels[:, ::-1]])


@pytest.mark.parametrize(
    ("reference", "prediction", "k", "mask", "message"),
    [
        (REFERENCE, PREDICTION[:4], 2, None, r"one shape; got \(5, 5\) and \(4, 5\)"),
        (REFERENCE, PREDICTION, 2, np.ones(3, bool), r"reference and mask .* \(3,\)"),
        (REFERENCE * 7, PREDICTION, 2, None, "reference holds the label 7; the labels are 0 to 1"),
        (REFERENCE, PREDICTION.astype(int) * 300, 2, None, "prediction holds the label 300"),
        (REFERENCE, PREDICTION.astype(np.int8) * -1, 2, None, "prediction holds the label -1"),
        (REFERENCE, PREDICTION.astype(float), 2, None, "integer labels; got float64"),
        (REFERENCE, PREDICTION, 0, None, "num_classes must be 1 to 255; got 0"),
        (REFERENCE, PREDICTION, 256, None, "num_classes must be 1 to 255; got 256"),
    ],
)
def test_refusals_name_rule_and_value(reference, prediction, k, mask, message):
    with pytest.raises(DataError, match=message):
        metrics.confusion(reference, prediction, k, mask)
