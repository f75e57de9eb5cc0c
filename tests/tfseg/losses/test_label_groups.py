"""Outputs that learn groups of labels, and outputs that are not trained."""

import numpy as np
import tensorflow as tf

from tfseg.losses import build_loss
from tfseg.losses.loss import regrouped, supervised_loss


def test_labels_become_their_groups_and_others_stay():
    labels = tf.constant([[0, 1, 2, 3, 255]], tf.int32)
    np.testing.assert_array_equal(regrouped(labels, (0, 1, 1, 0)), [[0, 1, 1, 0, 255]])
    np.testing.assert_array_equal(regrouped(labels, None), labels)
    small = tf.constant([[0, 1, 2, 3, 255]], tf.uint8)
    answer = regrouped(small, (0, 0, 1, 2))
    assert answer.dtype == tf.uint8
    np.testing.assert_array_equal(answer, [[0, 0, 1, 2, 255]])


def test_each_output_meets_its_own_groups():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 6, 6)).astype(np.int32)
    fine, coarse = rng.normal(size=(2, 6, 6, 3)), rng.normal(size=(2, 3, 3, 2))
    loss = build_loss("dice + ce")
    answer = supervised_loss(
        loss, tf.constant(labels), [tf.constant(fine), tf.constant(coarse)], (1.0, 3.0),
        groups=(None, (0, 1, 1)),
    )  # fmt: skip
    seen = (labels[:, 1::2, 1::2] > 0).astype(np.int32)
    expected = 0.25 * loss.per_sample(labels, fine) + 0.75 * loss.per_sample(seen, coarse)
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


def test_an_output_of_weight_0_is_not_looked_at():
    labels = tf.zeros((1, 4, 4), tf.int32)
    wrong = tf.fill((1, 4, 4, 2), float("nan"))
    right = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 2)))
    loss = build_loss("ce")
    answer = supervised_loss(loss, labels, [wrong, right], (0.0, 2.0))
    np.testing.assert_allclose(answer, loss.per_sample(labels, right), rtol=1e-6)
