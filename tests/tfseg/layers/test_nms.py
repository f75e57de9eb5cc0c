"""Non-maximum suppression, against one box after the other."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers.nms import first_kept, unsuppressed


def overlap(a, b):
    rank = len(a) // 2
    sides = np.minimum(a[rank:], b[rank:]) - np.maximum(a[:rank], b[:rank])
    common = np.prod(np.maximum(sides, 0))
    return common / (np.prod(a[rank:] - a[:rank]) + np.prod(b[rank:] - b[:rank]) - common)


def one_after_the_other(boxes, groups, threshold):
    kept = []
    for i in range(len(boxes)):
        rivals = [j for j in kept if groups[j] == groups[i]]
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in rivals):
            kept.append(i)
    return np.isin(np.arange(len(boxes)), kept)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
@pytest.mark.parametrize("kinds", [1, 3])
def test_against_brute_force(rank, threshold, kinds):
    rng = np.random.default_rng(rank)
    low = rng.uniform(0, 8, (3, 60, rank))
    boxes = np.concatenate([low, low + rng.uniform(2, 8, low.shape)], -1).astype(np.float32)
    groups = rng.integers(0, kinds, (3, 60)).astype(np.float32)
    keep = tf.function(unsuppressed)(boxes, groups, threshold)
    for sample in range(3):
        expected = one_after_the_other(boxes[sample], groups[sample], threshold)
        assert 2 < expected.sum() < 60
        np.testing.assert_array_equal(keep[sample], expected)


def test_a_long_chain_settles():
    """Each box suppresses the next, were it not suppressed itself: every second one stays."""
    start = np.arange(40, dtype=np.float32) * 4
    boxes = np.stack([start * 0, start, start * 0 + 10, start + 10], axis=-1)[np.newaxis]
    # Neighbours overlap by 6 of 14 voxels, 0.43; the next but one by 2 of 18.
    keep = unsuppressed(tf.constant(boxes), tf.zeros((1, 40)), 0.3)
    np.testing.assert_array_equal(keep[0], np.arange(40) % 2 == 0)


def test_equal_overlap_is_no_reason():
    boxes = tf.constant([[[0.0, 0, 2, 2], [0, 0, 2, 1]]])  # intersection over union is 0.5
    np.testing.assert_array_equal(unsuppressed(boxes, tf.zeros((1, 2)), 0.5), [[1, 1]])
    np.testing.assert_array_equal(unsuppressed(boxes, tf.zeros((1, 2)), 0.49), [[1, 0]])


def test_the_kept_come_first_in_their_order():
    keep = tf.constant([[0.0, 1, 0, 1, 1], [0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(first_kept(keep, 4), [[1, 3, 4, 0], [4, 0, 1, 2]])
