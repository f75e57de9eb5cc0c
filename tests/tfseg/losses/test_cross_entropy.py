"""Cross-entropy: worked value, SciPy, extremes."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from tfseg.losses import cross_entropy


def test_worked_by_hand():
    """q of the true class: .8, .6, 1 - .3, 1 - .1; the mean of -log is 1.196004 / 4."""
    q = np.array([0.8, 0.6, 0.3, 0.1])
    logits = np.stack([np.zeros(4), np.log(q / (1 - q))], axis=-1)[np.newaxis]
    answer = cross_entropy(np.array([[1, 1, 0, 0]]), logits).numpy()
    assert answer == pytest.approx([0.299001], abs=1e-6)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
def test_against_scipy(size):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (3, *size)).astype(np.uint8)
    logits = rng.normal(0, 5, (3, *size, 4)).astype(np.float32)
    each = -np.take_along_axis(
        log_softmax(logits.astype(float), axis=-1), labels[..., np.newaxis].astype(int), -1
    )
    np.testing.assert_allclose(
        cross_entropy(labels, logits), each.reshape(3, -1).mean(1), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_huge_logits_are_finite_with_the_right_gradient(dtype):
    """-log q = 2e4 where the network is certain and wrong; its gradient is q - p, over voxels."""
    logits = tf.constant([[[1e4, -1e4], [1e4, -1e4]]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(np.array([[0, 1]]), logits)
    assert loss.dtype == tf.float32
    assert loss.numpy() == pytest.approx([1e4])
    np.testing.assert_allclose(tape.gradient(loss, logits), [[[0, 0], [0.5, -0.5]]], atol=1e-6)


def test_a_known_label_beyond_the_classes_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError):
        cross_entropy(np.array([[2]]), np.zeros((1, 1, 2), np.float32))
