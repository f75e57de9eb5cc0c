"""Size and certainty of the whole prediction: worked values, NumPy, rules for absent classes."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, softmax
from scipy.stats import entropy as entropy_of

from tfseg.errors import ConfigError
from tfseg.losses import build_loss


def of_size(size, voxels=20):
    """Logits of ``voxels`` voxels whose probabilities sum to ``size``."""
    q = np.full((1, voxels, 1), size / voxels)
    return np.log(q / (1 - q))


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("float64", 1e-6)])
@pytest.mark.parametrize(("size", "expected"), [(12, 4), (2, 1), (5, 0)])
def test_size_worked_by_hand(size, expected, dtype, close):
    labels = np.zeros((1, 20), int)
    labels[0, :4] = 1
    one = of_size(size).astype(dtype)
    for logits in (one, np.concatenate([np.zeros_like(one), one], -1)):
        found = build_loss("size_constraint(bounds=[3, 10])").per_sample(labels, logits)
        assert found.numpy() == pytest.approx([expected], abs=close)
        divided = build_loss("size_constraint(bounds=[3, 10], divide_by_size=True)")
        assert divided.per_sample(labels, logits).numpy() == pytest.approx(
            [expected / 20], abs=close
        )


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [("", 3.6, 4.4), ("tolerance=0.5", 2, 6), ("tolerance=0", 4, 4)],
)
def test_size_within_a_tolerance_of_the_true_one(options, low, high):
    labels = np.zeros((1, 20), int)
    labels[0, :4] = 1
    loss = build_loss(f"size_constraint({options})")
    for size in (1.0, 4.0, 9.0):
        expected = max(low - size, 0) ** 2 + max(size - high, 0) ** 2
        found = loss.per_sample(labels, of_size(size)).numpy()
        assert found == pytest.approx([expected], abs=1e-9)


def test_an_absent_class_should_have_size_0():
    for options in ("", "bounds=[3, 10]"):
        found = build_loss(f"size_constraint({options})").per_sample(
            np.zeros((1, 20), int), of_size(2)
        )
        assert found.numpy() == pytest.approx([4])


@pytest.mark.parametrize("size", [(4, 5), (2, 4, 3)])
def test_one_pair_of_bounds_a_class(size):
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 3, (2, *size)), rng.normal(0, 2, (2, *size, 3))
    bounds = [(0, 1), (8, 9), (2, 3)]
    q = softmax(logits, -1)
    each = np.zeros((2, 3))
    for i in range(2):
        for c, (low, high) in enumerate(bounds):
            volume = q[i, ..., c].sum()
            each[i, c] = max(low - volume, 0) ** 2 + max(volume - high, 0) ** 2
    loss = build_loss(f"size_constraint(bounds={bounds})")
    np.testing.assert_allclose(loss.per_sample(labels, logits), each[:, 1:].mean(1))
    loss = build_loss(f"size_constraint(bounds={bounds}, include_background=True)")
    np.testing.assert_allclose(loss.per_sample(labels, logits), each.mean(1))


def test_the_gradient_leads_to_the_bounds():
    labels = np.ones((1, 20), int)
    for size, sign in ((2, -1), (5, 0), (12, 1)):
        logits = tf.constant(of_size(size))
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = build_loss("size_constraint(bounds=[3, 10])").per_sample(labels, logits)
        assert (np.sign(tape.gradient(value, logits)) == sign).all()


def test_entropy_against_scipy():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (2, 4, 3, 5))
    labels = rng.integers(0, 5, (2, 4, 3))
    expected = entropy_of(softmax(logits, -1), axis=-1).mean((1, 2))
    np.testing.assert_allclose(build_loss("entropy").per_sample(labels, logits), expected)
    q = expit(logits)
    expected = entropy_of(np.stack([q, 1 - q]), axis=0).mean((1, 2, 3))
    found = build_loss("entropy", multi_label=True).per_sample(np.zeros_like(logits), logits)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_entropy_from_certainty_to_none(classes):
    labels = np.zeros((1, 4), int)
    certain = np.full((1, 4, classes), -1e4)
    certain[..., 0] = 1e4
    assert build_loss("entropy").per_sample(labels, certain).numpy() == [0]
    found = build_loss("entropy").per_sample(labels, np.zeros((1, 4, classes))).numpy()
    assert found == pytest.approx([np.log(classes)])


def test_entropy_of_one_channel_is_that_of_two_exclusive_ones():
    labels, one = np.zeros((1, 20), int), of_size(3)
    two = np.concatenate([np.zeros_like(one), one], -1)
    np.testing.assert_allclose(
        build_loss("entropy").per_sample(labels, one), build_loss("entropy").per_sample(labels, two)
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("bounds=[10, 3]", "lower bound must not exceed the upper one"),
        ("bounds=[-1, 3]", "size_constraint: bounds"),
        ("tolerance=-0.1", "size_constraint: tolerance"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ConfigError, match=said):
        build_loss(f"size_constraint({options})")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("bounds=[1, 2], tolerance=0.1", r"takes bounds or tolerance; got bounds=\(1.0, 2.0\)"),
        ("bounds=[[1, 2], [3, 4]]", r"bounds must have one pair a class \(1, .*got 2"),
    ],
)
def test_options_that_do_not_go_together(options, said):
    with pytest.raises(ConfigError, match=said):
        build_loss(f"size_constraint({options})").per_sample(np.zeros((1, 20), int), of_size(2))
