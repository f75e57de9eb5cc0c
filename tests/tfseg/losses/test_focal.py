"""Weights from how well a voxel is predicted: worked values, loops, shapes of the curves."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_softmax

from tfseg.errors import ConfigError
from tfseg.losses import build_loss

P = np.array([[1, 1, 0, 0]])
Q = np.array([[0.8, 0.6, 0.3, 0.1]])
ONE = np.log(Q / (1 - Q))[..., np.newaxis]
TWO = np.concatenate([np.zeros_like(ONE), ONE], -1)
TOLERANCE = {"float32": 1e-5, "float64": 1e-6}


def logits_of(q):
    """One foreground voxel of each probability, each a sample."""
    q = np.asarray(q, float).reshape(-1, 1, 1)
    return np.ones(q.shape[:2], int), np.log(q / (1 - q))


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("logits", [ONE, TWO], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("focal", 0.0118826),
        ("focal(alpha=0.25, gamma=2)", 0.0118826),
        ("focal(alpha=0.5, gamma=2)", 0.0154765),
        ("focal(alpha=0.7, gamma=0)", 0.163097),  # balanced_ce(beta=0.7)
        ("focal(alpha=0.5, gamma=0)", 0.299001 / 2),  # half of ce, not ce
        ("focal(alpha=None, gamma=0)", 0.299001),
    ],
)
def test_focal_worked_by_hand(loss, expected, logits, dtype):
    found = build_loss(loss).per_sample(P, logits.astype(dtype))
    assert found.numpy() == pytest.approx([expected], abs=TOLERANCE[dtype])


def test_focal_of_one_of_three_classes():
    """.4^2 * .510826."""
    logits = np.log([[[0.3, 0.6, 0.1]]])
    found = build_loss("focal(alpha=None, gamma=2)").per_sample(np.array([[1]]), logits)
    assert found.numpy() == pytest.approx([0.0817321], abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)])
def test_focal_by_loops(size, gamma):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, *size))
    logits = rng.normal(0, 3, (2, *size, 3))
    log_q = log_softmax(logits, -1)
    for alpha, weight in [(0.3, [0.7, 0.3, 0.3]), ((0.2, 0.5, 2), [0.2, 0.5, 2])]:
        expected = []
        for i in range(2):
            total = 0.0
            for voxel in np.ndindex(size):
                c = labels[i][voxel]
                of_true = log_q[i][voxel][c]
                total -= weight[c] * (1 - math.exp(of_true)) ** gamma * of_true
            expected.append(total / labels[i].size)
        found = build_loss(f"focal(alpha={alpha}, gamma={gamma})").per_sample(labels, logits)
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_focal_of_independent_channels():
    rng = np.random.default_rng(1)
    p, logits = rng.integers(0, 2, (2, 4, 3, 3)), rng.normal(0, 2, (2, 4, 3, 3))
    q = expit(logits)
    expected = np.where(p, -0.3 * (1 - q) ** 2 * np.log(q), -0.7 * q**2 * np.log1p(-q))
    found = build_loss("focal(alpha=0.3)", multi_label=True).per_sample(p, logits)
    np.testing.assert_allclose(found, expected.mean((1, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_focal_has_a_slope_where_all_is_certain(gamma):
    """(1 - q)^gamma has none at q = 1 for gamma below 1; the loss must have one."""
    logits = tf.constant([[[1e4], [-1e4], [0.0]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = build_loss(f"focal(gamma={gamma})").per_sample(np.array([[1, 1, 1]]), logits)
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, logits)).all()


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (0.1, 7.075631),
        (0.2, 0.883753),
        (1 / math.e, 0),
        (0.5, 0.172552),
        (0.7, 2.133341),
        (0.9, 9.005743),
    ],
)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_conservative_worked_by_hand(q, expected, dtype):
    labels, one = logits_of(q)
    for logits in (one, np.concatenate([np.zeros_like(one), one], -1)):
        logits = logits.astype(dtype)
        close = {"abs": TOLERANCE[dtype]}
        assert build_loss("conservative").per_sample(labels, logits).numpy() == pytest.approx(
            [expected], **close
        )
        literal = build_loss("conservative(variant='literal')").per_sample(labels, logits)
        assert literal.numpy() == pytest.approx([expected if q < 0.3 else -expected], **close)


@pytest.mark.parametrize("base", [math.e, 3.0])
def test_conservative_is_least_at_one_over_its_base(base):
    q = np.concatenate([np.linspace(0.02, 1 / base, 40), np.linspace(1 / base, 0.98, 40)[1:]])
    found = build_loss(f"conservative(base={base})").per_sample(*logits_of(q)).numpy()
    assert found[39] == pytest.approx(0, abs=1e-12)
    assert (np.diff(found[:40]) < 0).all()
    assert (np.diff(found[39:]) > 0).all()


def test_conservative_counts_the_true_side_of_independent_channels():
    """A background voxel of q has the cost of a foreground voxel of 1 - q."""
    labels, logits = logits_of([0.2, 0.7])
    loss = build_loss("conservative(weight=2)", multi_label=True)
    np.testing.assert_allclose(
        loss.per_sample(1 - labels, -logits), loss.per_sample(labels, logits), rtol=1e-9
    )


def ghm_by_loops(labels, logits, bins, per_image=True):
    """Count, then weigh: N / (R M) times the cross-entropy of each voxel."""
    log_q = log_softmax(logits, -1)
    of_true = np.take_along_axis(log_q, labels[..., np.newaxis], -1)[..., 0]
    place = np.minimum((1 - np.exp(of_true)) * bins, bins - 1).astype(int)
    expected = []
    for i in range(len(labels)):
        pool = place[i] if per_image else place
        total = 0.0
        for voxel in np.ndindex(labels[i].shape):
            beta = pool.size / ((pool == place[i][voxel]).sum() * bins)
            total -= beta * of_true[i][voxel]
        expected.append(total / labels[i].size)
    return expected


def test_ghm_worked_by_hand():
    """Norms .2, .4, .3, .1 in two bins would share one: M = 2, R = 4, weights 1/2."""
    assert build_loss("ghm(bins=2)").per_sample(P, ONE).numpy() == pytest.approx(
        [0.299001 / 2], abs=1e-6
    )
    # In three bins .4 is alone: weights 4/9 and 4/3. (1.196004 - .510826) * 4/9 + .510826 * 4/3.
    expected = ((1.196004 - 0.510826) * 4 / 9 + 0.510826 * 4 / 3) / 4
    for logits in (ONE, TWO):
        assert build_loss("ghm(bins=3)").per_sample(P, logits).numpy() == pytest.approx(
            [expected], abs=1e-6
        )


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("bins", [1, 5, 30])
def test_ghm_by_loops(bins, per_image):
    rng = np.random.default_rng(2)
    labels, logits = rng.integers(0, 3, (2, 6, 5)), rng.normal(0, 3, (2, 6, 5, 3))
    loss = build_loss(f"ghm(bins={bins}, per_image={per_image})")
    np.testing.assert_allclose(
        loss.per_sample(labels, logits), ghm_by_loops(labels, logits, bins, per_image), rtol=1e-9
    )


def test_ghm_weights_are_constants_to_the_gradient():
    """The slope of each voxel is that of its cross-entropy, (q - p) / N, times its weight."""
    logits = tf.constant(ONE)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = build_loss("ghm(bins=3)").per_sample(P, logits)
    weights = np.array([4, 12, 4, 4]) / 9
    np.testing.assert_allclose(
        tape.gradient(value, logits)[0, :, 0], weights * (Q - P)[0] / 4, rtol=1e-9
    )


def test_ghm_neither_counts_ignored_voxels_nor_those_of_weight_0():
    labels = np.array([[1, 1, 0, 0, 255, 255]])
    logits = np.concatenate([ONE, ONE[:, :2]], 1)
    found = build_loss("ghm(bins=3, ignore_index=255)").per_sample(labels, logits)
    np.testing.assert_allclose(found, build_loss("ghm(bins=3)").per_sample(P, ONE))
    found = build_loss("ghm(bins=3, voxel_reduction='sum')").per_sample(
        labels % 254, logits, weights=np.array([[1, 1, 1, 1, 0, 0]])
    )
    expected = build_loss("ghm(bins=3, voxel_reduction='sum')").per_sample(P, ONE)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("focal(alpha=2)", "focal: alpha"),
        ("focal(gamma=-1)", "focal: gamma"),
        ("conservative(base=1)", "conservative: base"),
        ("conservative(variant='signed')", "conservative: variant"),
        ("ghm(bins=0)", "ghm: bins"),
    ],
)
def test_options_out_of_range(loss, said):
    with pytest.raises(ConfigError, match=said):
        build_loss(loss)


def test_one_alpha_a_class():
    with pytest.raises(ConfigError, match=r"alpha must have one entry a class \(1, .*got 2"):
        build_loss("focal(alpha=[1, 2])").per_sample(P, ONE)
