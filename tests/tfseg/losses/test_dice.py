"""The soft Dice loss: worked values, brute force, gradients, and the cases that break it."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.losses import soft_dice_loss

# p = (1, 1, 0, 0), q = (.8, .6, .3, .1): <p, q> = 1.4, |p| = 2, |q| = 1.8.
P = np.array([[1, 1, 0, 0]])
Q = np.array([0.8, 0.6, 0.3, 0.1])
# Two-class softmax of (0, t) gives q = 1 / (1 + exp(-t)): t = log(q / (1 - q)).
LOGITS = np.stack([np.zeros(4), np.log(Q / (1 - Q))], axis=-1)[np.newaxis].astype(np.float32)


def by_loops(labels, logits, smooth=1.0, first=1):
    """The definition, class by class and voxel by voxel, in float64."""
    losses = []
    for label, logit in zip(labels, logits.astype(np.float64), strict=True):
        e = np.exp(logit - logit.max(-1, keepdims=True))
        q = e / e.sum(-1, keepdims=True)
        scores = []
        for value in range(first, logit.shape[-1]):
            both = p_sum = q_sum = 0.0
            for voxel in np.ndindex(label.shape):
                p = float(label[voxel] == value)
                both += p * q[voxel][value]
                p_sum += p
                q_sum += q[voxel][value]
            below = p_sum + q_sum + smooth
            scores.append((2 * both + smooth) / below if below else 1.0)
        losses.append(1 - np.mean(scores))
    return losses


def test_worked_by_hand():
    """(2 * 1.4 + s) / (2 + 1.8 + s)."""
    assert soft_dice_loss(P, LOGITS, smooth=0).numpy() == pytest.approx([0.263158], abs=1e-6)
    assert soft_dice_loss(P, LOGITS, smooth=1).numpy() == pytest.approx([0.208333], abs=1e-6)
    # Background: <p, q> = .7 + .9 = 1.6, |p| = 2, |q| = .2 + .4 + .7 + .9 = 2.2: 4.2 / 5.2.
    both = soft_dice_loss(P, LOGITS, smooth=1, include_background=True).numpy()
    assert both == pytest.approx([1 - (3.8 / 4.8 + 4.2 / 5.2) / 2], abs=1e-6)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("background", [False, True])
def test_against_loops(size, classes, smooth, background):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (3, *size))
    logits = rng.normal(0, 3, (3, *size, classes)).astype(np.float32)
    answer = soft_dice_loss(labels, logits, smooth=smooth, include_background=background)
    expected = by_loops(labels, logits, smooth, first=0 if background else 1)
    np.testing.assert_allclose(answer, expected, atol=1e-6)


def test_a_batch_is_its_samples():
    """The value of a sample does not depend on its neighbours, so replicas add up."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (4, 6, 6))
    logits = rng.normal(size=(4, 6, 6, 3)).astype(np.float32)
    together = soft_dice_loss(labels, logits).numpy()
    alone = [soft_dice_loss(labels[i : i + 1], logits[i : i + 1]).numpy()[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_perfect_and_opposite_answers():
    labels = np.zeros((1, 4, 4), np.int32)
    labels[0, :2] = 1
    right = 1e4 * (2 * np.eye(2)[labels] - 1)
    assert soft_dice_loss(labels, right).numpy() == pytest.approx([0])
    # No overlap, 8 voxels each: 1 - 1 / (8 + 8 + 1).
    assert soft_dice_loss(labels, -right).numpy() == pytest.approx([16 / 17])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_huge_logits_and_half_precision_stay_finite(dtype):
    labels = np.array([[0, 1, 1, 0]])
    logits = tf.constant([[[1e4, -1e4], [1e4, -1e4], [-1e4, 1e4], [-1e4, 1e4]]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = soft_dice_loss(labels, logits)
    assert loss.dtype == tf.float32
    # One of two foreground voxels found, one false: (2 + 1) / (2 + 2 + 1).
    assert loss.numpy() == pytest.approx([0.4])
    assert np.isfinite(tape.gradient(loss, logits)).all()


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("labels", [np.zeros((1, 3, 3)), np.ones((1, 3, 3)), [[[0]]], [[[1]]]])
def test_empty_full_and_single_voxel_have_finite_gradients(labels, smooth):
    labels = np.asarray(labels, np.uint8)
    logits = tf.constant(np.random.default_rng(0).normal(size=(*labels.shape, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = soft_dice_loss(labels, logits, smooth=smooth)
    np.testing.assert_allclose(loss, by_loops(labels, logits.numpy(), smooth), atol=1e-6)
    assert np.isfinite(tape.gradient(loss, logits)).all()


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_a_class_absent_from_both_costs_nothing(smooth):
    labels = np.array([[0, 1]])
    logits = np.array([[[1e4, -1e4, -1e4], [-1e4, 1e4, -1e4]]], np.float32)
    assert soft_dice_loss(labels, logits, smooth=smooth).numpy() == pytest.approx([0])


def test_gradient_is_the_slope():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, (1, 3, 3))
    logits = rng.normal(size=(1, 3, 3, 3))
    variable = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = soft_dice_loss(labels, variable)
    gradient = tape.gradient(loss, variable).numpy()
    step = 1e-5
    for place in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[place] += step
        down[place] -= step
        slope = (by_loops(labels, up)[0] - by_loops(labels, down)[0]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, abs=1e-6)
