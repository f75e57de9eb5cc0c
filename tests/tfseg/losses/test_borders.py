"""Losses at borders: worked values, brute force, and what counts as a border."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from scipy.special import expit, log_softmax, softmax

from tfseg.losses import build_loss
from tfseg.losses.maps import unet_weight_map

P = np.array([[1, 1, 0, 0]])
Q = np.array([[0.8, 0.6, 0.3, 0.1]])
ONE = np.log(Q / (1 - Q))[..., np.newaxis]
TWO = np.concatenate([np.zeros_like(ONE), ONE], -1)
COSTS = np.array([0.223144, 0.510826, 0.356675, 0.105361])  # -log q of the true class
GAP = 10 * np.exp(-36 / 50)  # d1 = 2, d2 = 4: .486752 of w0 = 10
TOLERANCE = {"float32": 1e-5, "float64": 1e-6}


def cells(size, seed=0):
    """Labels 0 to 2 with many small components."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(size=size) < 0.2) * rng.integers(1, 3, size)


def by_voxels(labels, logits, weights):
    """The mean of -w log q(true class) over each image."""
    of_true = np.take_along_axis(log_softmax(logits, -1), labels[..., np.newaxis], -1)[..., 0]
    return -(weights * of_true).reshape(len(labels), -1).mean(1)


# --- unet_weighted_ce


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("logits", [ONE, TWO], ids=["sigmoid", "softmax"])
def test_unet_weights_worked_by_hand(logits, dtype):
    border = np.array([[0, GAP, 0, 0]])
    assert border.max() + 1 == pytest.approx(5.867523, abs=1e-6)
    close = {"abs": TOLERANCE[dtype]}
    loss = build_loss("unet_weighted_ce")
    found = loss.per_sample(P, logits.astype(dtype), voxel_map=border)
    assert found.numpy() == pytest.approx([0.920615], **close)
    # As printed in the survey: ce + the mean of the map.
    loss = build_loss("unet_weighted_ce(seed_literal=True)")
    found = loss.per_sample(P, logits.astype(dtype), voxel_map=border)
    assert found.numpy() == pytest.approx([0.299001 + GAP / 4], **close)


def test_as_printed_in_the_survey_the_map_has_no_slope():
    border = np.array([[0, GAP, 3, 1]])
    slopes = []
    for name in ("ce", "unet_weighted_ce(seed_literal=True)", "unet_weighted_ce"):
        logits = tf.constant(ONE)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = build_loss(name).per_sample(P, logits, voxel_map=border)
        slopes.append(tape.gradient(value, logits).numpy())
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-12)
    np.testing.assert_allclose(slopes[2], slopes[0] * (1 + border)[..., np.newaxis], rtol=1e-12)


@pytest.mark.parametrize("size", [(12, 10), (5, 8, 7)])
def test_without_a_map_it_is_made_from_the_labels(size):
    labels = np.stack([cells(size), cells(size, 1)])
    logits = np.random.default_rng(2).normal(size=(*labels.shape, 3))
    maps = np.stack([unet_weight_map(label, 4.0, 3.0) for label in labels])
    loss = build_loss("unet_weighted_ce(w0=4, sigma=3)")
    np.testing.assert_allclose(
        tf.function(loss.per_sample)(labels, logits), by_voxels(labels, logits, 1 + maps), rtol=1e-6
    )
    balanced = build_loss("unet_weighted_ce(w0=4, sigma=3, balance=True)")
    inverse = [labels[0].size / (3 * np.bincount(label.ravel())) for label in labels]
    weights = [of_class[label] for of_class, label in zip(inverse, labels, strict=True)]
    np.testing.assert_allclose(
        balanced.per_sample(labels, logits), by_voxels(labels, logits, weights + maps), rtol=1e-6
    )


def test_independent_channels_have_maps_of_their_own():
    labels = np.stack([cells((9, 8), seed) > 0 for seed in range(3)], -1).astype(float)[np.newaxis]
    logits = np.random.default_rng(3).normal(size=labels.shape)
    maps = np.stack([unet_weight_map(labels[0, ..., c] > 0) for c in range(3)], -1)
    q = expit(logits[0])
    costs = np.where(labels[0] > 0, -np.log(q), -np.log1p(-q))
    found = build_loss("unet_weighted_ce", multi_label=True).per_sample(labels, logits)
    np.testing.assert_allclose(found, [((1 + maps) * costs).mean()], rtol=1e-6)


def test_ignored_voxels_are_no_cell():
    labels = np.array([[1, 0, 255, 0, 0, 1]])
    logits = np.random.default_rng(4).normal(size=(1, 6, 2))
    border = unet_weight_map(np.array([[1, 0, 0, 0, 0, 1]]))
    loss = build_loss("unet_weighted_ce(ignore_index=255)")
    make, _ = loss.map_maker()
    np.testing.assert_array_equal(make(labels), border)
    np.testing.assert_allclose(
        loss.per_sample(labels, logits), loss.per_sample(labels, logits, voxel_map=border)
    )


# --- edge_weighted_ce


def band_by_loops(labels, width, known):
    """1 where the box of 2 width + 1 voxels has two different known labels."""
    band = np.zeros(labels.shape)
    for voxel in np.ndindex(labels.shape):
        box = tuple(slice(max(i - width, 0), i + width + 1) for i in voxel)
        band[voxel] = len(set(labels[box][known[box]])) > 1
    return band


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("size", [(9, 8), (5, 6, 7)])
def test_edge_band_by_loops(size, width):
    labels = np.stack([cells(size), np.zeros(size, int), np.indices(size)[0] // 3 % 3])
    labels[0][: size[0] // 2] = 0  # somewhere without an edge
    labels[2, 0] = 255
    logits = np.random.default_rng(5).normal(size=(*labels.shape, 3))
    known = labels != 255
    bands = [band_by_loops(a, width, b) for a, b in zip(labels, known, strict=True)]
    weights = (1 + 2.5 * np.stack(bands)) * known
    expected = by_voxels(labels % 255, logits, weights) * known[0].size
    expected /= known.reshape(3, -1).sum(1)
    loss = build_loss(f"edge_weighted_ce(extra=2.5, width={width}, ignore_index=255)")
    np.testing.assert_allclose(loss.per_sample(labels, logits), expected, rtol=1e-9)


@pytest.mark.parametrize("logits", [ONE, TWO], ids=["sigmoid", "softmax"])
def test_edge_band_worked_by_hand(logits):
    """The edge is between voxels 1 and 2: both count twice with width 1, all with width 2."""
    for width, weights in ((1, [1, 2, 2, 1]), (2, [2, 2, 2, 2])):
        found = build_loss(f"edge_weighted_ce(width={width})").per_sample(P, logits)
        assert found.numpy() == pytest.approx([(weights * COSTS).mean()], abs=1e-6)


def test_voxels_of_weight_0_make_no_edge():
    labels = np.array([[0, 0, 1, 0, 0]])
    logits = np.zeros((1, 5, 2))
    weights = np.array([[1, 1, 0, 1, 1]])
    loss = build_loss("edge_weighted_ce(width=1, voxel_reduction='sum')")
    found = loss.per_sample(labels, logits, weights=weights)
    np.testing.assert_allclose(found, [4 * np.log(2)])


# --- sobel_edge


def sobel_by_scipy(x):
    """The length of the gradient; SciPy smooths and takes differences with the same numbers."""
    return np.sqrt(sum(ndimage.sobel(x, axis, mode="nearest") ** 2 for axis in range(x.ndim)))


@pytest.mark.parametrize("size", [(7, 6), (4, 5, 6), (9,)])
def test_sobel_against_scipy(size):
    rng = np.random.default_rng(6)
    labels, logits = rng.integers(0, 3, (2, *size)), rng.normal(0, 2, (2, *size, 3))
    q = softmax(logits, -1)
    expected = [
        [
            ((sobel_by_scipy(q[i, ..., c]) - sobel_by_scipy(1.0 * (labels[i] == c))) ** 2).mean()
            for c in range(3)
        ]
        for i in range(2)
    ]
    found = build_loss("sobel_edge").per_sample(labels, logits)
    np.testing.assert_allclose(found, np.mean(expected, 1, where=[False, True, True]), rtol=1e-9)
    found = build_loss("sobel_edge(include_background=True)").per_sample(labels, logits)
    np.testing.assert_allclose(found, np.mean(expected, 1), rtol=1e-9)


def test_sobel_worked_by_hand():
    """p = (1, 1, 0, 0): lengths 0, 1, 1, 0. q = (.8, .6, .3, .1): .2, .5, .5, .2."""
    for logits in (ONE, TWO):
        found = build_loss("sobel_edge").per_sample(P, logits)
        assert found.numpy() == pytest.approx([(0.04 + 0.25 + 0.25 + 0.04) / 4])


def test_sobel_is_least_with_the_edges_in_place():
    labels = np.zeros((1, 12, 12), int)
    labels[:, 4:8, 4:8] = 1
    right = 6.0 * (2 * labels[..., np.newaxis] - 1)
    costs = [
        build_loss("sobel_edge").per_sample(labels, np.roll(right, shift, 2)).numpy()[0]
        for shift in range(4)
    ]
    assert all(a < b for a, b in itertools.pairwise(costs))


def test_sobel_is_flat_where_nothing_changes():
    logits = tf.zeros((1, 5, 5, 2), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = build_loss("sobel_edge").per_sample(np.zeros((1, 5, 5), int), logits)
    assert value.numpy() == [0]
    assert not tape.gradient(value, logits).numpy().any()


def test_sobel_of_an_image_and_of_a_batch():
    rng = np.random.default_rng(7)
    labels, logits = rng.integers(0, 2, (2, 5, 5)), rng.normal(size=(2, 5, 5, 2))
    each = build_loss("sobel_edge").per_sample(labels, logits).numpy()
    whole = build_loss("sobel_edge(per_image=False)").per_sample(labels, logits)
    np.testing.assert_allclose(whole, [each.mean()] * 2)
    total = build_loss("sobel_edge(voxel_reduction='sum')").per_sample(labels, logits)
    np.testing.assert_allclose(total, 25 * each)
