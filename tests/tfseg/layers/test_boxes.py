"""Boxes: overlap, coding, clipping, against values worked by hand and counted voxels."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers.boxes import box_iou, box_volume, clip_boxes, decode_boxes, encode_boxes, take


def random_boxes(rng, count, rank, size=12):
    corners = np.sort(rng.integers(0, size, (count, 2, rank)), axis=1)
    corners[:, 1] += 1
    return corners.reshape(count, 2 * rank).astype(np.float32)


def voxels(box, size=14):
    rank = len(box) // 2
    mask = np.zeros((size,) * rank, bool)
    mask[tuple(slice(int(a), int(b)) for a, b in zip(box[:rank], box[rank:], strict=True))] = True
    return mask


@pytest.mark.parametrize("rank", [2, 3])
def test_overlap_is_that_of_the_voxels(rank):
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 6, rank), random_boxes(rng, 5, rank)
    expected = [
        [(voxels(a) & voxels(b)).sum() / (voxels(a) | voxels(b)).sum() for b in second]
        for a in first
    ]
    np.testing.assert_allclose(box_iou(first, second), expected, rtol=1e-6)
    np.testing.assert_array_equal(box_volume(tf.constant(first)), [voxels(a).sum() for a in first])


def test_empty_boxes_overlap_nothing():
    boxes = np.array([[0, 0, 0, 0], [3, 3, 3, 3], [0, 0, 4, 4]], np.float32)
    expected = np.zeros((3, 3))
    expected[2, 2] = 1
    np.testing.assert_array_equal(box_iou(boxes, boxes), expected)


def test_coding_by_hand():
    """An anchor of 4 x 8 about (4, 6); the box is 8 x 8 about (5, 8)."""
    anchor, box = tf.constant([2.0, 2.0, 6.0, 10.0]), tf.constant([1.0, 4.0, 9.0, 12.0])
    expected = [10 * 1 / 4, 10 * 2 / 8, 5 * np.log(2), 0]
    np.testing.assert_allclose(encode_boxes(box, anchor, (10.0, 5.0)), expected, rtol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
def test_decoding_undoes_coding(rank):
    rng = np.random.default_rng(1)
    boxes, anchors = (tf.constant(random_boxes(rng, 20, rank)) for _ in range(2))
    deltas = encode_boxes(boxes, anchors, (10.0, 5.0))
    np.testing.assert_allclose(decode_boxes(deltas, anchors, (10.0, 5.0)), boxes, atol=1e-4)


def test_growth_is_limited():
    grown = decode_boxes(tf.constant([0.0, 0, 99, 0]), tf.constant([0.0, 0, 2, 2]), (1.0, 1.0))
    np.testing.assert_allclose(grown, [1 - 62.5, 0, 1 + 62.5, 2], rtol=1e-5)


def test_clipping_keeps_boxes_in_the_image():
    boxes = tf.constant([[[-3.0, 2, 5, 30], [1, 1, 2, 2]]])
    expected = [[[0, 2, 5, 9], [1, 1, 2, 2]]]
    np.testing.assert_array_equal(clip_boxes(boxes, tf.zeros((1, 6, 9, 1))), expected)


def test_taking_by_sample():
    x = np.arange(2 * 5 * 3).reshape(2, 5, 3)
    index = np.array([[4, 0, 0], [1, 2, 3]], np.int32)
    expected = np.take_along_axis(x, index[..., np.newaxis], axis=1)
    np.testing.assert_array_equal(take(tf.constant(x), index), expected)
    np.testing.assert_array_equal(take(tf.constant(x[..., 0]), index), expected[..., 0])
