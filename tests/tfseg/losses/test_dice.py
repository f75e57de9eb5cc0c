"""The Dice loss: worked values, brute force, gradients, and the cases that break it."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.losses import build_loss

# p = (1, 1, 0, 0), q = (.8, .6, .3, .1): <p, q> = 1.4, |p| = 2, |q| = 1.8, sum q^2 = 1.1.
P = np.array([[1, 1, 0, 0]])
Q = np.array([0.8, 0.6, 0.3, 0.1])
LOGIT = np.log(Q / (1 - Q))
ONE_CHANNEL = LOGIT[np.newaxis, :, np.newaxis]
# The two-class softmax of (0, t) is the sigmoid of t.
TWO_CHANNELS = np.stack([np.zeros(4), LOGIT], -1)[np.newaxis]


def by_loops(labels, logits, smooth=1.0, first=1, form="l1"):
    """The definition, class by class and voxel by voxel, in float64."""
    losses = []
    for label, logit in zip(labels, logits.astype(np.float64), strict=True):
        e = np.exp(logit - logit.max(-1, keepdims=True))
        q = e / e.sum(-1, keepdims=True)
        exponent = 2 if form == "squared" else 1
        scores = []
        for value in range(first, logit.shape[-1]):
            both = p_sum = q_sum = 0.0
            for voxel in np.ndindex(label.shape):
                p = float(label[voxel] == value)
                both += p * q[voxel][value]
                p_sum += p**exponent
                q_sum += q[voxel][value] ** exponent
            below = p_sum + q_sum + smooth
            scores.append((2 * both + smooth) / below if below else 1.0)
        losses.append(1 - np.mean(scores))
    return losses


@pytest.mark.parametrize("logits", [ONE_CHANNEL, TWO_CHANNELS], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-6), (np.float32, 1e-5)])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("dice(smooth=0)", 0.263158),  # 1 - 2.8 / 3.8
        ("dice(smooth=1)", 0.208333),  # 1 - 3.8 / 4.8
        ("dice(smooth=0, form='squared')", 0.0967742),  # 1 - 2.8 / (2 + 1.1)
        ("dice(smooth=10)", 1 - 12.8 / 13.8),
    ],
)
def test_worked_by_hand(loss, expected, logits, dtype, apart):
    answer = build_loss(loss).per_sample(P, logits.astype(dtype))
    assert answer.dtype == dtype
    assert answer.numpy() == pytest.approx([expected], abs=apart)


def test_the_background_counts_where_asked():
    """Background: <p, q> = .7 + .9 = 1.6, |p| = 2, |q| = .2 + .4 + .7 + .9 = 2.2: 4.2 / 5.2."""
    both = build_loss("dice(include_background=True)").per_sample(P, TWO_CHANNELS).numpy()
    assert both == pytest.approx([1 - (3.8 / 4.8 + 4.2 / 5.2) / 2], abs=1e-9)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("form", ["l1", "squared"])
def test_against_loops(size, classes, smooth, background, form):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (3, *size))
    logits = rng.normal(0, 3, (3, *size, classes))
    loss = build_loss(f"dice(smooth={smooth}, form='{form}', include_background={background})")
    expected = by_loops(labels, logits, smooth, 0 if background else 1, form)
    np.testing.assert_allclose(loss.per_sample(labels, logits), expected, atol=1e-12)


def test_squared_and_plain_are_one_for_hard_predictions():
    labels = np.random.default_rng(0).integers(0, 2, (2, 5, 5))
    hard = 1e4 * (2.0 * np.eye(2)[np.roll(labels, 1, axis=2)] - 1)
    plain = build_loss("dice").per_sample(labels, hard)
    np.testing.assert_allclose(build_loss("dice(form='squared')").per_sample(labels, hard), plain)


def test_plain_norms_would_fall_below_zero():
    """1 - 2.8 / (sqrt 2 + sqrt 1.1) of the worked example: so it is not on offer."""
    loss = 1 - 2 * (P @ Q) / (2**0.5 + 1.1**0.5)
    assert loss == pytest.approx([-0.136815], abs=1e-6)
    with pytest.raises(ConfigError, match=r"must be squared, .*below 0: use 'squared'; got 'l2'"):
        build_loss("dice(form='l2')")


def test_gradient_of_the_squared_form():
    """By q: -(2 p (sum q^2 + sum p^2) - 4 q sum pq) / (sum q^2 + sum p^2)^2, as in V-Net."""
    logits = tf.constant(ONE_CHANNEL)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = build_loss("dice(smooth=0, form='squared')").per_sample(P, logits)
    by_q = tape.gradient(loss, logits).numpy().ravel() / (Q * (1 - Q))
    p, squares = P[0], 2 + 1.1
    expected = -(2 * p * squares - 4 * Q * 1.4) / squares**2
    np.testing.assert_allclose(by_q, expected, atol=1e-9)
    np.testing.assert_allclose(by_q, [-0.17898, -0.29553, 0.17482, 0.05827], atol=5e-6)


@pytest.mark.parametrize("form", ["l1", "squared"])
def test_perfect_and_opposite_answers(form):
    labels = np.zeros((1, 4, 4), np.int32)
    labels[0, :2] = 1
    right = 1e4 * (2 * np.eye(2)[labels] - 1)
    loss = build_loss(f"dice(form='{form}')")
    assert loss.per_sample(labels, right).numpy() == pytest.approx([0])
    # No overlap, 8 voxels each: 1 - 1 / (8 + 8 + 1).
    assert loss.per_sample(labels, -right).numpy() == pytest.approx([16 / 17])


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("labels", [np.zeros((1, 3, 3)), np.ones((1, 3, 3)), [[[0]]], [[[1]]]])
def test_empty_full_and_single_voxel(labels, smooth):
    labels = np.asarray(labels, np.uint8)
    logits = tf.constant(np.random.default_rng(0).normal(size=(*labels.shape, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = build_loss(f"dice(smooth={smooth})").per_sample(labels, logits)
    np.testing.assert_allclose(loss, by_loops(labels, logits.numpy(), smooth), atol=1e-6)
    assert np.isfinite(tape.gradient(loss, logits)).all()


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_a_class_absent_from_both_costs_nothing(smooth):
    labels = np.array([[0, 1]])
    logits = np.array([[[1e4, -1e4, -1e4], [-1e4, 1e4, -1e4]]], np.float32)
    answer = build_loss(f"dice(smooth={smooth})").per_sample(labels, logits)
    assert answer.numpy() == pytest.approx([0])


def test_a_large_volume_does_not_fall_below_zero_by_rounding():
    labels = np.ones((1, 300, 300), np.uint8)
    logits = np.full((1, 300, 300, 1), 15.9, np.float32)  # 1 - q = 1.2e-7
    answer = build_loss("dice").per_sample(labels, logits).numpy()
    exact = 1 / (1 + np.exp(15.9))
    assert 0 <= answer[0] == pytest.approx(exact / 2, rel=0.1)


def test_over_the_batch_together():
    """(2 sum <p,q> + s) / (sum |p| + sum |q| + s), the sums over both samples."""
    labels = np.array([[1, 1, 0, 0], [0, 0, 0, 0]])
    logits = np.concatenate([ONE_CHANNEL, ONE_CHANNEL])
    answer = build_loss("dice(per_image=False)").per_sample(labels, logits)
    np.testing.assert_allclose(answer, [1 - (2 * 1.4 + 1) / (2 + 2 * 1.8 + 1)] * 2, rtol=1e-12)
