"""IoU, Tversky, focal Tversky, generalised and attention Dice: worked values and brute force."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.losses import build_loss
from tfseg.losses.overlap import power

P = np.array([[1, 1, 0, 0]])
Q = np.array([0.8, 0.6, 0.3, 0.1])  # <p,q> = 1.4, FP = .4, FN = .6
LOGIT = np.log(Q / (1 - Q))
ONE_CHANNEL = LOGIT[np.newaxis, :, np.newaxis]
TWO_CHANNELS = np.stack([np.zeros(4), LOGIT], -1)[np.newaxis]


@pytest.mark.parametrize("logits", [ONE_CHANNEL, TWO_CHANNELS], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-6), (np.float32, 1e-5)])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("iou(smooth=0)", 0.416667),  # 1 - 1.4 / 2.4
        ("tversky(alpha=0.3, beta=0.7, smooth=0)", 0.278351),  # 1 - 1.4 / (1.4 + .12 + .42)
        ("tversky(alpha=0.5, beta=0.5, smooth=0)", 0.263158),
        ("tversky(alpha=0.7, beta=0.3, smooth=0)", 0.247312),
        ("tversky(alpha=1, beta=1, smooth=0)", 0.416667),
        # The survey's beta multiplies the false positives: .3 is Salehi's (.3, .7).
        ("tversky(alpha=0.7, beta=0.3, smooth=0, seed_literal=True)", 0.721649),
        ("tversky(alpha=0.3, beta=0.7, smooth=0, seed_literal=True)", 1 - 0.247312),
        ("focal_tversky(smooth=0)", (0.54 / 1.94) ** 0.75),
        ("focal_tversky(gamma=1, smooth=0)", 0.278351),
        ("attention_dice(smooth=0, beta=0)", 0.263158),
        ("attention_dice(smooth=0, beta=2)", (1 / 3.8) ** 3),
        # Two voxels each: w = 1 for both classes; wrong 1 and 1, right 2.8 and 3.2.
        ("generalised_dice(smooth=0)", 2 / 8),
        ("generalised_dice(smooth=1)", 1 / 5),
    ],
)
def test_worked_by_hand(loss, expected, logits, dtype, apart):
    answer = build_loss(loss).per_sample(P, logits.astype(dtype)).numpy()
    assert answer.dtype == dtype
    assert answer == pytest.approx([expected], abs=apart)


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def counts(p, q, weights):
    """Soft TP, FP, FN and volume of one class, voxel by voxel."""
    tp = fp = fn = volume = 0.0
    for voxel in np.ndindex(p.shape):
        w = weights[voxel]
        tp += w * p[voxel] * q[voxel]
        fp += w * (1 - p[voxel]) * q[voxel]
        fn += w * p[voxel] * (1 - q[voxel])
        volume += w * p[voxel]
    return tp, fp, fn, volume


DEFINITIONS = {
    "iou": lambda tp, fp, fn, s: 1 - (tp + s) / ((tp + fn) + (tp + fp) - tp + s),
    "tversky": lambda tp, fp, fn, s: 1 - (tp + s) / (tp + 0.3 * fp + 0.7 * fn + s),
    "focal_tversky": (
        lambda tp, fp, fn, s: (1 - (tp + s) / (tp + 0.3 * fp + 0.7 * fn + s)) ** 0.75
    ),
}


@pytest.mark.parametrize("name", list(DEFINITIONS))
@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
@pytest.mark.parametrize("multi_label", [False, True])
def test_against_loops(name, size, multi_label):
    """Soft targets, voxel weights (some 0) and class weights."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (2, *size, 3))
    weights = rng.uniform(0, 2, (2, *size)) * rng.integers(0, 2, (2, *size))
    if multi_label:
        p, q = rng.uniform(size=logits.shape), 1 / (1 + np.exp(-logits))
        class_weights = np.array([1.0, 2.0, 3.0])
    else:
        p, q = softmax(rng.normal(0, 2, logits.shape)), softmax(logits)
        class_weights = np.array([0.0, 2.0, 3.0])  # no background, unless asked
    loss = build_loss(f"{name}(smooth=0.5, class_weights=[1, 2, 3])", multi_label=multi_label)
    answer = loss.per_sample(p, logits, weights=weights)
    expected = [
        np.average(
            [
                DEFINITIONS[name](*counts(p[i, ..., c], q[i, ..., c], weights[i])[:3], 0.5)
                for c in range(3)
            ],
            weights=class_weights,
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(answer, expected, rtol=1e-10)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
@pytest.mark.parametrize("absent", [False, True])
def test_generalised_dice_against_loops(size, absent):
    """Without smoothing, 1 - 2 sum w tp / sum w (|p| + |q|) with w = 1 / |p|^2.

    A class that is absent has the weight of the smallest one that is not.
    """
    rng = np.random.default_rng(2)
    labels = rng.choice(4, (2, *size), p=[0.7, 0.2, 0.1, 0])
    if not absent:
        labels[:, 0, 0] = 3
    logits = rng.normal(0, 2, (2, *size, 4))
    q = softmax(logits)
    expected = []
    for i in range(2):
        rows = [counts(1.0 * (labels[i] == c), q[i, ..., c], np.ones(size)) for c in range(4)]
        w = [1 / volume**2 if volume else 0.0 for *_, volume in rows]
        w = [each or max(w) for each in w]
        above = sum(each * row[0] for each, row in zip(w, rows, strict=True))
        below = sum(
            each * (2 * row[0] + row[1] + row[2]) for each, row in zip(w, rows, strict=True)
        )
        expected.append(1 - 2 * above / below)
    answer = build_loss("generalised_dice(smooth=0)").per_sample(labels, logits)
    np.testing.assert_allclose(answer, expected, rtol=1e-10)


def test_generalised_dice_does_not_depend_on_what_is_not_counted():
    """Without the background, one foreground class present: its weight is 1, as the absent's."""
    labels = np.array([[1, 1, 1, 1, 1, 0]])
    logits = np.random.default_rng(0).normal(size=(1, 6, 3))
    q = softmax(logits)[0]
    right = 2 * q[:5, 1].sum()
    wrong = (1 - q[:5, 1]).sum() + q[5, 1] + q[:, 2].sum()
    answer = build_loss("generalised_dice(smooth=0, include_background=False)")
    np.testing.assert_allclose(
        answer.per_sample(labels, logits), [wrong / (wrong + right)], rtol=1e-12
    )


def test_generalised_dice_of_independent_channels_is_the_mean_of_each():
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, (2, 4, 4, 2)).astype(float)
    logits = rng.normal(size=(2, 4, 4, 2))
    together = build_loss("generalised_dice", multi_label=True).per_sample(targets, logits)
    each = [
        build_loss("generalised_dice").per_sample(targets[..., c : c + 1], logits[..., c : c + 1])
        for c in range(2)
    ]
    np.testing.assert_allclose(together, (each[0] + each[1]) / 2, rtol=1e-12)


def test_hard_dice_and_iou_are_one_measure():
    """Dice = 2 IoU / (1 + IoU), and Dice >= IoU."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, (8, 6, 6))
    hard = 1e4 * (2.0 * rng.integers(0, 2, (8, 6, 6, 1)) - 1)
    overlap = 1 - build_loss("dice(smooth=0)").per_sample(labels, hard).numpy()
    shared = 1 - build_loss("iou(smooth=0)").per_sample(labels, hard).numpy()
    np.testing.assert_allclose(overlap, 2 * shared / (1 + shared), rtol=1e-12)
    assert (overlap >= shared).all()


def test_dearer_misses_raise_the_gradient_where_something_is_missed():
    def slope_at_a_miss(beta):
        logits = tf.constant(ONE_CHANNEL)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = build_loss(f"tversky(alpha={1 - beta}, beta={beta})").per_sample(P, logits)
        gradient = tape.gradient(value, logits).numpy().ravel()
        return gradient[1] / gradient[2]  # a miss over a false find

    assert slope_at_a_miss(0.9) < slope_at_a_miss(0.5) < slope_at_a_miss(0.1) < 0


def test_attention_falls_faster_for_easy_samples():
    """The factor (1 - D)^beta of a sample with D = .9 against one with D = .5."""
    for dice in (0.9, 0.5):
        # One voxel of four: 2q / (1 + q) = D.
        q = dice / (2 - dice)
        logits = np.array([[[np.log(q / (1 - q))], [-1e4], [-1e4], [-1e4]]])
        answer = build_loss("attention_dice(smooth=0)").per_sample(np.array([[1, 0, 0, 0]]), logits)
        assert answer.numpy() == pytest.approx([(1 - dice) ** 3])


def test_power_is_exact_above_a_millionth_and_straight_below():
    values = tf.constant([0.0, 1e-9, 1e-6, 2e-6, 0.5, 3.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(values)
        answer = power(values, 0.3)
    slope = tape.gradient(answer, values).numpy()
    expected = np.array([0, 1e-9 * 1e-6**-0.7, 1e-6**0.3, 2e-6**0.3, 0.5**0.3, 3**0.3])
    np.testing.assert_allclose(answer, expected, rtol=1e-12)
    assert np.isfinite(slope).all()
    assert slope[0] == pytest.approx(1e-6**-0.7)


SHIFTED = {
    "ce": [0.105361, 0.107558, 0.109755, 0.111952, 0.114149, 0.116347],
    "focal(alpha=0.25, gamma=2)": [0.000789, 0.001721, 0.002653, 0.003585, 0.004517, 0.005449],
    "dice(smooth=0)": [0.956938, 0.964593, 0.972249, 0.979904, 0.987560, 0.995215],
    "combo(alpha=0.5, beta=0.5)": [0.004352, 0.008725, 0.013098, 0.017472, 0.021845, 0.026219],
}


@pytest.mark.parametrize("loss", list(SHIFTED))
def test_a_square_that_moves_away(loss):
    """100 x 100, a 5 x 5 square; q = .9 on the same square moved right by s, .1 elsewhere."""
    labels = np.zeros((7, 100, 100), np.uint8)
    labels[:, 40:45, 40:45] = 1
    q = np.full((7, 100, 100, 1), 0.1)
    for s in range(7):
        q[s, 40:45, 40 + s : 45 + s] = 0.9
    answer = build_loss(loss).per_sample(labels, np.log(q / (1 - q))).numpy()
    np.testing.assert_allclose(answer[:6], SHIFTED[loss], atol=1.1e-6)
    assert (np.diff(answer) >= -1e-12).all()
    assert answer[6] == pytest.approx(answer[5])  # no overlap left
