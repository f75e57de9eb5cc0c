"""Class weights from frequencies: worked values, NumPy, what happens to absent classes."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from tfseg.errors import ConfigError
from tfseg.losses import build_loss

P = np.array([[1, 1, 0, 0]])
Q = np.array([[0.8, 0.6, 0.3, 0.1]])
ONE = np.log(Q / (1 - Q))[..., np.newaxis]
TWO = np.concatenate([np.zeros_like(ONE), ONE], -1)
TOLERANCE = {"float32": 1e-5, "float64": 1e-6}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("logits", [ONE, TWO], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(
    ("loss", "p", "expected"),
    [
        ("balanced_ce(beta=0.5)", P, 0.149501),
        ("balanced_ce(beta=0.7)", P, 0.163097),
        # One of four is foreground, so beta is .75.
        ("balanced_ce", [[1, 0, 0, 0]], 0.127985),
        # Clamped to .4 <= beta <= .6: (.6 * .223144 + .4 * (.916291 + .356675 + .105361)) / 4.
        ("balanced_ce(clamp=0.4)", [[1, 0, 0, 0]], 0.171304),
        # Frequencies (3/4, 1/4), their median 1/2: weights 2/3 and 2.
        ("median_freq_ce", [[1, 0, 0, 0]], 0.341293),
        # The rarer class 1, the other 1/3: (.223144 + 1.378327 / 3) / 4.
        ("dynamic_class_ce", [[1, 0, 0, 0]], 0.170647),
        ("dynamic_class_ce(background_limit=0.1)", [[1, 0, 0, 0]], 0.090244),
    ],
)
def test_worked_by_hand(loss, p, expected, logits, dtype):
    found = build_loss(loss).per_sample(np.array(p), logits.astype(dtype))
    assert found.numpy() == pytest.approx([expected], abs=TOLERANCE[dtype])


def weights_of(loss, labels, classes, multi_label=False):
    """The weight of each voxel, read off the loss of voxels that are equally badly predicted."""
    labels = np.asarray(labels)
    logits = np.zeros((*labels.shape[:2], classes))
    alone = build_loss(loss, multi_label=multi_label)
    return alone.per_sample(labels, logits).numpy() / np.log(classes)


def test_segnet_weights():
    """Frequencies (.9, .08, .02) of the training set: weights .08/.9, 1, .08/.02."""
    for label, weight in enumerate((0.0888889, 1, 4)):
        found = weights_of("median_freq_ce(frequencies=[0.9, 0.08, 0.02])", [[label] * 5], 3)
        assert found == pytest.approx([weight], abs=1e-6)


def test_kidnet_weights():
    for label, weight in enumerate((0.02 / 0.9, 0.25, 1)):
        found = weights_of("dynamic_class_ce(frequencies=[0.9, 0.08, 0.02])", [[label] * 5], 3)
        assert found == pytest.approx([weight])


def by_numpy(name, labels, logits, per_image=True):
    """Weights from counted voxels, applied voxel by voxel, in float64."""
    classes = logits.shape[-1]
    log_q = log_softmax(logits, -1)
    groups = (
        [[i] for i in range(len(labels))] if per_image else [list(range(len(labels)))] * len(labels)
    )
    losses = []
    for i, group in enumerate(groups):
        count = np.array([(labels[group] == c).sum() for c in range(classes)], float)
        within = np.array(
            [sum(labels[j].size for j in group if (labels[j] == c).any()) for c in range(classes)]
        )
        there = count > 0
        weight = np.zeros(classes)
        share = count / sum(labels[j].size for j in group)
        if name == "balanced_ce":
            weight = 1 - share
        elif name == "dynamic_class_ce":
            weight[there] = share[there].min() / share[there]
        else:
            own = count[there] / within[there]
            weight[there] = np.median(own) / own
        total = 0.0
        for voxel in np.ndindex(labels[i].shape):
            total -= weight[labels[i][voxel]] * log_q[i][voxel][labels[i][voxel]]
        losses.append(total / labels[i].size)
    return losses


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("size", [(6, 5), (3, 4, 3)])
@pytest.mark.parametrize("name", ["balanced_ce", "median_freq_ce", "dynamic_class_ce"])
def test_against_numpy(name, size, per_image):
    rng = np.random.default_rng(0)
    labels = rng.choice(5, (3, *size), p=[0.6, 0.2, 0.1, 0.1, 0])  # class 4 is in no image
    labels[0][labels[0] == 3] = 1  # and 3 not in the first
    logits = rng.normal(0, 2, (3, *size, 5))
    found = build_loss(f"{name}(per_image={per_image})").per_sample(labels, logits)
    np.testing.assert_allclose(found, by_numpy(name, labels, logits, per_image), rtol=1e-9)


@pytest.mark.parametrize("name", ["balanced_ce", "median_freq_ce", "dynamic_class_ce"])
def test_an_independent_channel_is_two_classes(name):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (2, 5, 4, 3)).astype(float)
    logits = rng.normal(0, 2, (2, 5, 4, 3))
    together = build_loss(name, multi_label=True).per_sample(labels, logits).numpy()
    alone = [
        build_loss(name).per_sample(labels[..., c], logits[..., c : c + 1]).numpy()
        for c in range(3)
    ]
    np.testing.assert_allclose(together, np.mean(alone, 0), rtol=1e-9)


def test_ignored_voxels_are_not_counted():
    labels = np.array([[1, 0, 0, 0, 255, 255]])
    logits = np.concatenate([ONE, ONE[:, :2]], 1)
    for name in ("balanced_ce", "median_freq_ce", "dynamic_class_ce"):
        found = build_loss(f"{name}(ignore_index=255)").per_sample(labels, logits)
        expected = build_loss(name).per_sample(labels[:, :4], logits[:, :4])
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_an_image_without_foreground_costs_nothing_unless_clamped():
    labels, logits = np.zeros((1, 4), int), np.full((1, 4, 1), 3.0)
    assert build_loss("balanced_ce").per_sample(labels, logits).numpy() == [0]
    clamped = build_loss("balanced_ce(clamp=0.1)").per_sample(labels, logits).numpy()
    assert clamped == pytest.approx([-0.1 * np.log(1 - expit(3))])


def test_frequencies_of_another_number_of_classes():
    with pytest.raises(ConfigError, match=r"frequencies must have one entry a class \(1, .*got 2"):
        build_loss("median_freq_ce(frequencies=[0.5, 0.5])").per_sample(P, ONE)
