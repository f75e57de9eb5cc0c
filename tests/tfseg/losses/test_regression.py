"""Absolute, squared, smooth and multi-scale distances: worked values and brute force."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.losses import build_loss
from tfseg.losses.regression import mean_absolute, mean_smooth_l1, mean_squared

P = np.array([[1, 1, 0, 0]])
Q = np.array([0.8, 0.6, 0.3, 0.1])  # |p - q| = .2, .4, .3, .1
LOGIT = np.log(Q / (1 - Q))
ONE_CHANNEL = LOGIT[np.newaxis, :, np.newaxis]
TWO_CHANNELS = np.stack([np.zeros(4), LOGIT], -1)[np.newaxis]

# x = [[1, 2], [3, 4]], y = [[1, 0], [0, 1]], S = [[.5, .5], [0, 1]].
IMAGE = np.array([[1.0, 2], [3, 4]])[np.newaxis, ..., np.newaxis]
LABEL = np.array([[[1, 0], [0, 1]]])
CERTAIN = np.array([[0.0, 0], [-1e4, 1e4]])[np.newaxis, ..., np.newaxis]


@pytest.mark.parametrize("logits", [ONE_CHANNEL, TWO_CHANNELS], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-6), (np.float32, 1e-5)])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mae", 0.25),
        ("mse", 0.3 / 4),
        ("smooth_l1", 0.3 / 8),
        ("smooth_l1(beta=0.25)", ((0.04 + 0.01) / 0.5 + (0.4 + 0.3 - 0.25)) / 4),
        ("mae(voxel_reduction='sum')", 1.0),
    ],
)
def test_worked_by_hand(loss, expected, logits, dtype, apart):
    answer = build_loss(loss).per_sample(P, logits.astype(dtype)).numpy()
    assert answer.dtype == dtype
    assert answer == pytest.approx([expected], abs=apart)


@pytest.mark.parametrize("multi_label", [False, True])
def test_against_numpy(multi_label):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 2, 3))
    p = np.eye(3)[rng.integers(0, 3, logits.shape[:-1])]
    q = 1 / (1 + np.exp(-logits))
    if not multi_label:
        q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    axes = (1, 2, 3, 4)
    for name, expected in (
        ("mae", np.abs(p - q).mean(axes)),
        ("mse", ((p - q) ** 2).mean(axes)),
    ):
        answer = build_loss(name, multi_label=multi_label).per_sample(p, logits)
        np.testing.assert_allclose(answer, expected, rtol=1e-12)


def test_distances_of_any_tensors():
    a, b = tf.constant([[1.0, 5.0], [0.0, 0.0]]), tf.constant([[1.5, 2.0], [0.0, 1.0]])
    np.testing.assert_allclose(mean_absolute(a, b), [3.5 / 2, 0.5])
    np.testing.assert_allclose(mean_squared(a, b), [9.25 / 2, 0.5])
    np.testing.assert_allclose(mean_smooth_l1(a, b), [(0.125 + 2.5) / 2, 0.25])
    np.testing.assert_allclose(mean_smooth_l1(a, b, beta=4.0), [9.25 / 16, 1 / 16])


def test_half_precision_is_measured_in_float32():
    a = tf.constant([[1000.0, 0.0]], tf.float16)
    answer = mean_squared(a, tf.zeros_like(a))  # 1e6 is beyond float16
    assert answer.dtype == tf.float32
    np.testing.assert_allclose(answer, [5e5])


@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-6), (np.float32, 1e-5)])
@pytest.mark.parametrize(("mode", "expected"), [("mean", 0.25), ("concat", 0.325)])
def test_multiscale_l1_worked_by_hand(mode, expected, dtype, apart):
    """|.| of the differences: 1.5 / 4 = .375 as they are, .125 of the mean: 1.625 / 5 together."""
    loss = build_loss(f"multiscale_l1(levels=2, mode='{mode}')")
    answer = loss.per_sample(LABEL, CERTAIN.astype(dtype), image=IMAGE.astype(dtype)).numpy()
    assert answer.dtype == dtype
    assert answer == pytest.approx([expected], abs=apart)


def pooled(array, size):
    """Average over blocks of an array; blocks at the end may be smaller."""
    shape = [-(-n // size) for n in array.shape]
    answer = np.zeros(shape)
    for block in np.ndindex(*shape):
        answer[block] = array[tuple(slice(b * size, (b + 1) * size) for b in block)].mean()
    return answer


@pytest.mark.parametrize("size", [(8,), (5, 8), (4, 8, 3)])
@pytest.mark.parametrize("mode", ["mean", "concat"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_multiscale_l1_against_loops(size, mode, multi_label):
    """Odd sizes with blocks of 2 only: TensorFlow pads for larger ones on both sides."""
    levels = 3 if size == (8,) else 2
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, *size, 2))
    logits = rng.normal(size=(2, *size, 3))
    p = np.eye(3)[rng.integers(0, 3, (2, *size))]
    q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if multi_label:
        q = 1 / (1 + np.exp(-logits))
    weights = rng.uniform(0, 2, (2, *size))
    expected = []
    for i in range(2):
        classes = []
        for c in range(0 if multi_label else 1, 3):
            scales = []
            for level in range(levels):
                masked = [
                    pooled(weights[i] * image[i, ..., m] * (q - p)[i, ..., c], 2**level)
                    for m in range(2)
                ]
                scales.append(np.abs(np.stack(masked)).ravel())
            if mode == "mean":
                classes.append(np.mean([scale.mean() for scale in scales]))
            else:
                classes.append(np.concatenate(scales).mean())
        expected.append(np.mean(classes))
    loss = build_loss(f"multiscale_l1(levels={levels}, mode='{mode}')", multi_label=multi_label)
    answer = loss.per_sample(p, logits, image=image, weights=weights)
    np.testing.assert_allclose(answer, expected, rtol=1e-10)


def test_multiscale_l1_at_the_right_answer_is_zero():
    right = 1e4 * (2.0 * LABEL[..., np.newaxis] - 1)
    answer = build_loss("multiscale_l1").per_sample(LABEL, right, image=IMAGE)
    np.testing.assert_array_equal(answer, [0])


def test_multiscale_l1_needs_the_image():
    loss = build_loss("multiscale_l1")
    assert loss.needs == {"image"}
    with pytest.raises(ConfigError, match="needs the network's input"):
        loss.per_sample(LABEL, CERTAIN)
