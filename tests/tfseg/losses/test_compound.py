"""Combo, exponential-logarithmic, sums of losses, and the sum over training outputs."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.losses import build_loss
from tfseg.losses.compound import deep_supervision_sum
from tfseg.losses.loss import supervised_loss

P = np.array([[1, 1, 0, 0]])
Q = np.array([0.8, 0.6, 0.3, 0.1])
LOGIT = np.log(Q / (1 - Q))
ONE_CHANNEL = LOGIT[np.newaxis, :, np.newaxis]
TWO_CHANNELS = np.stack([np.zeros(4), LOGIT], -1)[np.newaxis]
CE = 0.299001  # of the example
DICE = 3.8 / 4.8  # with s = 1


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("logits", [ONE_CHANNEL, TWO_CHANNELS], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-6), (np.float32, 1e-5)])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("combo(alpha=0.5, beta=0.5)", -0.321083),
        ("combo(alpha=0.5, beta=0.7)", -0.314285),
        ("combo(alpha=0.5, beta=0.5, dice_as_loss=True)", 0.5 - 0.321083),
        ("combo(alpha=1, beta=0.5)", CE / 2),
        ("combo(alpha=0)", -DICE),
        ("combo(class_sum=True)", -0.321083),  # one class
        ("exp_log", 0.701105),
        ("exp_log(dice_weight=1, ce_weight=0)", 0.637891),
        ("exp_log(dice_weight=0, ce_weight=1)", 0.953959),
        ("exp_log(gamma_dice=1, gamma_ce=1)", 0.263446),
        ("exp_log(gamma_dice=1, gamma_ce=1, dice_weight=1, ce_weight=0)", 0.223594),
        ("exp_log(gamma_dice=1, gamma_ce=1, dice_weight=0, ce_weight=1)", 0.422851),
    ],
)
def test_worked_by_hand(loss, expected, logits, dtype, apart):
    answer = build_loss(loss).per_sample(P, logits.astype(dtype)).numpy()
    assert answer.dtype == dtype
    assert answer == pytest.approx([expected], abs=apart)


def combo_by_loops(p, q, alpha, beta, smooth, classes):
    """One sample, the formula for every class, voxel by voxel."""
    each = []
    for c in classes:
        entropy = both = total = 0.0
        voxels = list(np.ndindex(p.shape[:-1]))
        for voxel in voxels:
            t, r = p[voxel][c], q[voxel][c]
            entropy -= beta * t * np.log(r) + (1 - beta) * (1 - t) * np.log(1 - r)
            both += t * r
            total += t + r
        score = (2 * both + smooth) / (total + smooth)
        each.append((alpha * entropy / len(voxels), (1 - alpha) * score))
    return np.array(each)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
@pytest.mark.parametrize("multi_label", [False, True])
def test_combo_against_loops(size, multi_label):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, *size, 3))
    if multi_label:
        p, q, classes = rng.uniform(size=logits.shape), 1 / (1 + np.exp(-logits)), (0, 1, 2)
    else:
        p, q, classes = np.eye(3)[rng.integers(0, 3, (2, *size))], softmax(logits), (1, 2)
    for options, factor, added in (
        ("", 1, 0),
        (", class_sum=True", len(classes), 0),
        (", class_sum=True, dice_as_loss=True", len(classes), 0.6 * len(classes)),
    ):
        loss = build_loss(f"combo(alpha=0.4, beta=0.7, smooth=2{options})", multi_label=multi_label)
        expected = []
        for i in range(2):
            entropy, overlap = combo_by_loops(p[i], q[i], 0.4, 0.7, 2.0, classes).mean(0)
            expected.append(entropy - factor * overlap + added)
        np.testing.assert_allclose(loss.per_sample(p, logits), expected, rtol=1e-10)


def test_combo_is_bounded_below_and_zero_at_best_as_a_loss():
    labels = np.array([[1, 1, 0, 0]])
    perfect = 1e4 * (2.0 * labels[..., np.newaxis] - 1)
    assert build_loss("combo").per_sample(labels, perfect).numpy() == pytest.approx([-0.5])
    best = build_loss("combo(dice_as_loss=True)").per_sample(labels, perfect)
    assert best.numpy() == pytest.approx([0])


@pytest.mark.parametrize(("beta", "dearer"), [(0.8, "miss"), (0.2, "false find")])
def test_beta_chooses_which_error_costs_more(beta, dearer):
    loss = build_loss(f"combo(alpha=1, beta={beta})")
    miss = loss.per_sample(np.array([[1]]), np.array([[[-2.0]]])).numpy()[0]
    false_find = loss.per_sample(np.array([[0]]), np.array([[[2.0]]])).numpy()[0]
    assert (miss > false_find) == (dearer == "miss")


def exp_log_by_loops(label, q, frequencies, gamma=0.3):
    """One sample of exclusive classes, from the formula."""
    k = q.shape[-1]
    f = np.array([(label == c).sum() for c in range(k)]) if frequencies is None else frequencies
    over_classes = 0.0
    for c in range(k):
        d = 1.0 * (label == c)
        score = (2 * (d * q[..., c]).sum() + 1) / (d.sum() + q[..., c].sum() + 1)
        over_classes += (-np.log(score)) ** gamma / k
    over_voxels = 0.0
    for voxel in np.ndindex(label.shape):
        true = label[voxel]
        weight = np.sqrt(np.sum(f) / f[true])
        over_voxels += weight * (-np.log(q[voxel][true])) ** gamma / label.size
    return 0.8 * over_classes + 0.2 * over_voxels


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
@pytest.mark.parametrize("frequencies", [None, (0.6, 0.3, 0.1)])
def test_exp_log_against_loops(size, frequencies):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (2, *size))
    labels[1] %= 2  # a class is absent
    logits = rng.normal(0, 2, (2, *size, 3))
    expected = [exp_log_by_loops(labels[i], softmax(logits)[i], frequencies) for i in range(2)]
    loss = build_loss(f"exp_log(frequencies={frequencies})")
    np.testing.assert_allclose(loss.per_sample(labels, logits), expected, rtol=1e-9)


def test_exp_log_of_independent_channels_is_the_mean_of_each():
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, (2, 4, 4, 2)).astype(float)
    logits = rng.normal(size=(2, 4, 4, 2))
    together = build_loss("exp_log", multi_label=True).per_sample(targets, logits)
    each = [
        build_loss("exp_log").per_sample(targets[..., c : c + 1], logits[..., c : c + 1])
        for c in range(2)
    ]
    np.testing.assert_allclose(together, (each[0] + each[1]) / 2, rtol=1e-12)


def test_exp_log_given_the_samples_own_frequencies_is_the_same():
    own = build_loss("exp_log").per_sample(P, ONE_CHANNEL)
    given = build_loss("exp_log(frequencies=(0.5,))").per_sample(P, ONE_CHANNEL)
    np.testing.assert_allclose(own, given, rtol=1e-12)


def test_exp_log_has_a_finite_slope_at_the_perfect_answer():
    labels = np.array([[1, 0]])
    for size in (1e4, 30.0, 17.0):  # 17: q is 1 - 4e-8, the last below 1 in float32
        logits = tf.constant([[[size], [-size]]], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = build_loss("exp_log").per_sample(labels, logits)
        assert 0 <= value.numpy()[0] < 0.01
        slope = tape.gradient(value, logits).numpy()
        assert np.isfinite(slope).all()
        assert np.abs(slope).max() < 0.01


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("exp_log(frequencies=(1, 2, 3))", r"one entry a class \(1, .*got 3"),
        ("exp_log(frequencies=(1.5,))", r"shares of the voxels, below 1; got 1.5"),
    ],
)
def test_frequencies_that_do_not_fit(loss, said):
    with pytest.raises(ConfigError, match=said):
        build_loss(loss).per_sample(P, ONE_CHANNEL)


def sample(size, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (2, *size)).astype(np.uint8)
    return labels, rng.normal(size=(2, *size, classes)).astype(np.float32)


DICE_CE = build_loss("dice + ce")


def test_sum_of_the_two():
    labels, logits = sample((4, 4))
    expected = sum(build_loss(name).per_sample(labels, logits) for name in ("dice", "ce"))
    np.testing.assert_allclose(DICE_CE.per_sample(labels, logits), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(8, 12), (8, 12, 4)])
def test_outputs_are_weighted_to_sum_one_and_met_at_their_own_grid(size):
    labels, fine = sample(size)
    half, quarter = tuple(n // 2 for n in size), tuple(n // 4 for n in size)
    middle, coarse = sample(half, seed=1)[1], sample(quarter, seed=2)[1]
    every_second = labels[(slice(None), *(slice(1, None, 2),) * len(size))]
    every_fourth = labels[(slice(None), *(slice(2, None, 4),) * len(size))]
    weights = (1, 0.5, 0.25, 0.125)
    answer = supervised_loss(DICE_CE, tf.constant(labels), [fine, middle, coarse], weights)
    expected = (
        4 * DICE_CE.per_sample(labels, fine)
        + 2 * DICE_CE.per_sample(every_second, middle)
        + DICE_CE.per_sample(every_fourth, coarse)
    ) / 7
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_a_grid_may_be_coarser_along_some_axes_only():
    labels, logits = sample((4, 6, 6))
    coarse = logits[:, :, ::3, ::3]
    answer = supervised_loss(DICE_CE, tf.constant(labels), [coarse], (1.0,))
    expected = DICE_CE.per_sample(labels[:, :, 1::3, 1::3], coarse)
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


def test_the_image_is_met_at_the_coarse_grid_too():
    labels, logits = sample((4, 4))
    image = np.random.default_rng(3).normal(size=(2, 4, 4, 1)).astype(np.float32)
    coarse = logits[:, ::2, ::2]
    loss = build_loss("multiscale_l1(levels=1)")
    answer = supervised_loss(loss, tf.constant(labels), [coarse], (1,), image=tf.constant(image))
    expected = loss.per_sample(labels[:, 1::2, 1::2], coarse, image=image[:, 1::2, 1::2])
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


def test_one_output_has_the_whole_weight():
    labels, logits = sample((4, 4))
    answer = supervised_loss(DICE_CE, tf.constant(labels), [logits], (0.3, 0.7))
    np.testing.assert_allclose(answer, DICE_CE.per_sample(labels, logits), rtol=1e-6)


def test_fewer_weights_than_outputs_is_an_error():
    labels, logits = sample((4, 4))
    with pytest.raises(ConfigError, match="got 1 weights for 2 outputs"):
        supervised_loss(DICE_CE, tf.constant(labels), [logits, logits], (1.0,))


def test_deep_supervision_sum():
    """(1 * (2, 4) + 3 * (6, 0)) / 4."""
    values = [tf.constant([2.0, 4.0]), tf.constant([6.0, 0.0])]
    np.testing.assert_allclose(deep_supervision_sum(values, (1, 3)), [5, 1])


@pytest.mark.parametrize("weights", [(0, 0), (1, -1)])
def test_weights_of_deep_supervision_that_sum_to_nothing(weights):
    values = [tf.constant([1.0])] * 2
    with pytest.raises(ConfigError, match=r"must be 0 or more, and one above 0; got \["):
        deep_supervision_sum(values, weights)
