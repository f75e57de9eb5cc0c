"""Boxes as soft masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

from tfseg.layers import SoftBox


def by_hand(box, size, k):
    """The product over the axes, voxel after voxel."""
    rank = len(size)
    mask = np.ones(size)
    for voxel in np.ndindex(size):
        for axis in range(rank):
            p = (voxel[axis] + 0.5) / size[axis]
            lower, upper = (box[axis] + side * box[rank + axis] / 2 for side in (-1, 1))
            mask[voxel] *= expit(k * (p - lower)) * expit(k * (upper - p))
    return mask


@pytest.mark.parametrize(
    ("size", "box"),
    [((6, 9), (0.4, 0.5, 0.5, 0.3)), ((4, 6, 5), (0.5, 0.2, 0.9, 0.4, 0.4, 0.6))],
)
def test_against_the_formula(size, box):
    boxes = np.array([box, np.full(len(box), 0.5)], np.float32)
    image = np.zeros((2, *size, 3), np.float32)
    mask = SoftBox(20.0)([boxes, image])
    assert mask.shape == (2, *size, 1)
    for sample in range(2):
        expected = by_hand(boxes[sample], size, 20.0)
        np.testing.assert_allclose(mask[sample, ..., 0], expected, atol=1e-5)


def test_one_inside_zero_outside():
    """A box over rows 8 to 23 and columns 4 to 11 of 32 x 16, two voxels away from its faces."""
    box = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)
    mask = np.asarray(SoftBox(200.0)([box, np.zeros((1, 32, 16, 1), np.float32)]))[0, ..., 0]
    assert (mask[10:22, 6:10] > 0.99).all()
    outside = np.ones((32, 16), bool)
    outside[6:26, 2:14] = False
    assert (mask[outside] < 0.01).all()


def test_every_side_of_the_box_can_be_learned():
    box = tf.constant([[0.5, 0.55, 0.5, 0.4]])
    target = by_hand((0.55, 0.5, 0.4, 0.6), (16, 16), 20.0)
    with tf.GradientTape() as tape:
        tape.watch(box)
        mask = SoftBox(20.0)([box, tf.zeros((1, 16, 16, 1))])
        loss = tf.reduce_mean((mask[0, ..., 0] - target) ** 2)
    # Down, left, flatter and wider: gradient descent goes against the gradient.
    np.testing.assert_array_equal(np.sign(tape.gradient(loss, box)[0]), [-1, 1, 1, -1])


def test_sizes_unknown_until_it_runs():
    image, box = keras.Input((None, None, 1)), keras.Input((4,))
    model = keras.Model([box, image], SoftBox()([box, image]))
    boxes = np.array([[0.4, 0.5, 0.5, 0.3]], np.float32)
    in_graph = tf.function(model)
    mask = in_graph([boxes, np.zeros((1, 6, 9, 1), np.float32)])
    np.testing.assert_allclose(mask[0, ..., 0], by_hand(boxes[0], (6, 9), 40.0), atol=1e-5)
