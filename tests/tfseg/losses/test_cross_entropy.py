"""Cross-entropies with weights known beforehand: worked values, SciPy, extremes, gradients."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax

from tfseg.errors import ConfigError
from tfseg.losses import build_loss

# p = (1, 1, 0, 0), q = (.8, .6, .3, .1): -log of the true class's q is .223144, .510826,
# .356675, .105361; together 1.196004.
P = np.array([[1, 1, 0, 0]])
Q = np.array([[0.8, 0.6, 0.3, 0.1]])
ONE = np.log(Q / (1 - Q))[..., np.newaxis]
TWO = np.concatenate([np.zeros_like(ONE), ONE], -1)  # a softmax of two with the same q
TOLERANCE = {"float32": 1e-5, "float64": 1e-6}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("logits", [ONE, TWO], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("ce", 0.299001),
        ("ce(voxel_reduction='sum')", 1.196004),
        ("bce", 0.299001),
        ("wce(beta=1)", 0.299001),
        ("wce(beta=2)", 0.482493),
        ("wce(beta=0.5)", 0.207255),
    ],
)
def test_worked_by_hand(loss, expected, logits, dtype):
    found = build_loss(loss).per_sample(P, logits.astype(dtype))
    assert found.numpy() == pytest.approx([expected], abs=TOLERANCE[dtype])


def test_one_weight_a_voxel():
    """The gap voxel of the U-Net example: (.223144 + 5.867523 * .510826 + ...) / 4."""
    weights = np.array([[1, 1 + 10 * np.exp(-36 / 50), 1, 1]])
    found = build_loss("ce").per_sample(P, ONE, weights=weights)
    assert found.numpy() == pytest.approx([0.920615], abs=1e-6)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
def test_exclusive_classes_against_scipy(size):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (3, *size)).astype(np.uint8)
    logits = rng.normal(0, 5, (3, *size, 4))
    of_true = np.take_along_axis(log_softmax(logits, -1), labels[..., np.newaxis].astype(int), -1)[
        ..., 0
    ]
    weight = np.array([0.78, 0.65, 8.57, 2.0])
    for loss, factor in [
        ("ce", 1),
        ("ce(class_weights=[0.78, 0.65, 8.57, 2])", weight[labels]),
        ("wce(beta=[0.78, 0.65, 8.57, 2])", weight[labels]),
        ("wce(beta=3)", np.where(labels > 0, 3, 1)),
    ]:
        expected = -(factor * of_true).reshape(3, -1).mean(1)
        np.testing.assert_allclose(build_loss(loss).per_sample(labels, logits), expected, rtol=1e-9)


@pytest.mark.parametrize("multi_label", [False, True])
def test_yes_or_no_of_every_channel(multi_label):
    """bce and wce by their definition; over a softmax too, and with soft targets."""
    rng = np.random.default_rng(1)
    p = rng.uniform(size=(2, 3, 4, 3))
    logits = rng.normal(0, 2, (2, 3, 4, 3))
    q = expit(logits) if multi_label else np.exp(log_softmax(logits, -1))
    sides = -p * np.log(q), -(1 - p) * np.log1p(-q)
    found = build_loss("bce", multi_label=multi_label).per_sample(p, logits)
    np.testing.assert_allclose(found, (sides[0] + sides[1]).mean((1, 2, 3)), rtol=1e-9)
    if multi_label:
        found = build_loss("wce(beta=[1, 2, 5])", multi_label=True).per_sample(p, logits)
        expected = (np.array([1, 2, 5]) * sides[0] + sides[1]).mean((1, 2, 3))
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def gradient(loss, labels, logits):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = build_loss(loss).per_sample(labels, logits)
    return value.numpy(), tape.gradient(value, logits).numpy()


def test_gradient_by_the_probabilities():
    """d/dq is -1/(4q) where p is 1 and 1/(4(1-q)) where it is 0; d/dx is q(1-q) times that."""
    by_q = np.array([-0.3125, -0.416667, 0.357143, 0.277778])
    for loss in ("ce", "bce"):
        _, found = gradient(loss, P, ONE)
        np.testing.assert_allclose(found[0, :, 0] / (Q * (1 - Q))[0], by_q, atol=1e-6)


def test_beta_is_the_price_of_a_miss():
    """At q = 1/2 a miss pulls beta times as hard as a false alarm."""
    for beta in (0.25, 1.0, 4.0):
        _, found = gradient(f"wce(beta={beta})", np.array([[1, 0]]), np.zeros((1, 2, 1)))
        assert -found[0, 0, 0] / found[0, 1, 0] == pytest.approx(beta)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_huge_logits_are_finite_with_the_right_gradient(dtype):
    """-log q = 2e4 where the network is certain and wrong; its gradient is q - p, over voxels."""
    value, found = gradient("ce", np.array([[0, 1]]), np.array([[[1e4, -1e4]] * 2], dtype))
    assert value.dtype == np.float32
    assert value == pytest.approx([1e4])
    np.testing.assert_allclose(found, [[[0, 0], [0.5, -0.5]]], atol=1e-6)


def test_log_of_not_q_keeps_its_digits():
    """1 - q of a certain class is the sum of the others: e^-40 + e^-50, which 1 - q cannot hold."""
    logits = np.array([[[40.0, 0, -10]]])
    found = build_loss("bce").per_sample(np.array([[[0.0, 1, 1]]]), logits).numpy()
    log_others = np.log(np.exp(-40) + np.exp(-50))
    assert found == pytest.approx([(-log_others + 40 + 50) / 3], rel=1e-12)


def test_options_that_do_not_fit_the_classes():
    with pytest.raises(ConfigError, match=r"beta must have one entry a class \(1, .*got 2"):
        build_loss("wce(beta=[1, 2])").per_sample(P, ONE)
