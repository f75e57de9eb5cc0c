"""Objects of a label map, by hand."""

import numpy as np
import pytest

from tfseg.schemes.objects import find_objects

LABELS = np.array(
    [
        [1, 1, 0, 0, 2, 2],
        [1, 0, 0, 0, 0, 2],
        [0, 0, 2, 0, 0, 2],
        [0, 0, 0, 1, 0, 0],
    ]
)


def test_components_of_each_label_largest_first():
    numbers, boxes, classes = find_objects(LABELS, 5)
    # Two diagonal neighbours are two objects.
    np.testing.assert_array_equal(classes, [2, 1, 1, 2, 0])
    np.testing.assert_array_equal(
        boxes, [[0, 4, 3, 6], [0, 0, 2, 2], [3, 3, 4, 4], [2, 2, 3, 3], [0, 0, 0, 0]]
    )
    expected = [[2, 2, 0, 0, 1, 1], [2, 0, 0, 0, 0, 1], [0, 0, 4, 0, 0, 1], [0, 0, 0, 3, 0, 0]]
    np.testing.assert_array_equal(numbers, expected)


def test_small_ones_are_left_out():
    numbers, boxes, classes = find_objects(LABELS, 1)
    assert classes.tolist() == [2]
    assert boxes.tolist() == [[0, 4, 3, 6]]
    np.testing.assert_array_equal(numbers > 0, (LABELS == 2) & (np.indices(LABELS.shape)[1] > 3))


def test_merged_labels_are_one_class():
    labels = np.zeros((4, 5, 6), int)
    labels[1:3, 1, 1] = 1
    labels[1:3, 2, 1] = 2
    numbers, boxes, classes = find_objects(labels, 2, merged=True)
    assert classes.tolist() == [1, 0]
    assert boxes[0].tolist() == [1, 1, 1, 3, 3, 2]
    np.testing.assert_array_equal(numbers, labels > 0)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_nothing_to_find(shape):
    numbers, boxes, classes = find_objects(np.zeros(shape, np.uint8), 3)
    assert not numbers.any()
    assert not boxes.any()
    assert not classes.any()
    assert boxes.shape == (3, 2 * len(shape))
