"""The star shape prior: the worked ray, all rays by loops, and what it is meant to punish."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.losses import build_loss
from tfseg.losses.star import centroid, ray_costs

# A ray with its centre at the first voxel.
RAY = np.array([1.0, 1, 1, 0, 0])
RAY_Q = np.array([0.9, 0.4, 0.8, 0.3, 0.1])


def logits_of(q):
    q = np.asarray(q)[..., np.newaxis]
    return np.log(q / (1 - q))


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("float64", 1e-6)])
def test_worked_ray(dtype, close):
    """Voxel 1: .6 * .5. Voxel 2: .2 * (.4 + .1). Voxel 3 has no nearer voxel of its label.

    Voxel 4: .1 * .2.
    """
    p, q = RAY[np.newaxis].astype(dtype), RAY_Q[np.newaxis].astype(dtype)
    costs = ray_costs(p, q, np.ones_like(p), np.array([[0]], np.int32)).numpy()
    np.testing.assert_allclose(costs, [[0, 0.3, 0.1, 0, 0.02]], atol=close)
    assert costs.sum() == pytest.approx(0.42, abs=close)


@pytest.mark.parametrize("exclusive", [False, True])
def test_worked_ray_on_both_sides_of_the_centroid(exclusive):
    labels = np.concatenate([RAY[:0:-1], RAY])[np.newaxis].astype(int)
    logits = logits_of(np.concatenate([RAY_Q[:0:-1], RAY_Q])[np.newaxis])
    if exclusive:
        logits = np.concatenate([np.zeros_like(logits), logits], -1)
    total = build_loss("star_shape(voxel_reduction='sum')").per_sample(labels, logits)
    assert total.numpy() == pytest.approx([2 * 0.42], abs=1e-6)
    mean = build_loss("star_shape").per_sample(labels, logits)
    assert mean.numpy() == pytest.approx([2 * 0.42 / 9], abs=1e-6)


def by_loops(p, q, known):
    """The definition, voxel by voxel, along segments drawn here; the sum over u."""
    if not p.any():
        return 0.0
    centre = [int(np.floor(np.average(axis, weights=p) + 0.5)) for axis in np.indices(p.shape)]
    total = 0.0
    for u in np.ndindex(p.shape):
        if not known[u]:
            continue
        steps = max(abs(a - b) for a, b in zip(u, centre, strict=True))
        for t in range(steps):
            v = []
            for a, c in zip(u, centre, strict=True):
                # Exact thanks to whole numbers: the nearest of |a - c| t / steps, halves up.
                whole, rest = divmod(abs(a - c) * t, steps)
                v.append(c + int(np.sign(a - c)) * (whole + (2 * rest >= steps)))
            v = tuple(v)
            if known[v]:
                same = 1 - abs(p[u] - p[v])
                total += same * abs(p[u] - q[u]) * abs(q[u] - q[v])
    return total


@pytest.mark.parametrize("size", [(11,), (7, 9), (4, 6, 5)])
def test_by_loops(size):
    rng = np.random.default_rng(0)
    labels = rng.choice(4, (2, *size), p=[0.5, 0.3, 0.2, 0])
    labels[0][labels[0] == 2] = 0  # the first image has no class 2, none has class 3
    labels[1, 0] = 255
    logits = rng.normal(0, 2, (2, *size, 4))
    q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    known = labels != 255
    expected = [
        np.mean([by_loops(1.0 * (labels[i] == c), q[i, ..., c], known[i]) for c in (1, 2, 3)])
        for i in range(2)
    ]
    loss = build_loss("star_shape(voxel_reduction='sum', ignore_index=255)")
    np.testing.assert_allclose(loss.per_sample(labels, logits), expected, rtol=1e-9)


def test_soft_targets_agree_by_degrees():
    rng = np.random.default_rng(1)
    p, q = rng.uniform(size=(2, 1, 5, 6))
    found = ray_costs(p, q, np.ones_like(p), centroid(p))
    assert found.numpy().sum() == pytest.approx(by_loops(p[0], q[0], np.ones((5, 6), bool)))


def test_gradient_is_the_slope():
    """The loops' gradient is written by hand: central differences, in float64, in 3D."""
    rng = np.random.default_rng(2)
    p = (rng.uniform(size=(2, 3, 4, 3)) < 0.4).astype(float)
    q = rng.uniform(size=p.shape)
    centre = centroid(p)
    counted = (rng.uniform(size=p.shape) < 0.9).astype(float)
    upstream = rng.normal(size=p.shape)

    def total(q):
        return tf.reduce_sum(upstream * ray_costs(p, q, counted, centre))

    variable = tf.constant(q)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = total(variable)
    gradient = tape.gradient(value, variable).numpy()
    for place in np.ndindex(q.shape):
        step = np.zeros_like(q)
        step[place] = 1e-6
        slope = (total(q + step) - total(q - step)) / 2e-6
        assert gradient[place] == pytest.approx(slope.numpy(), abs=1e-7)


def test_what_costs_nothing():
    """Right answers; and any that does not change along rays, which is why ce goes beside it."""
    grid = np.indices((21, 21)) - 10
    disc = ((grid**2).sum(0) < 64)[np.newaxis].astype(int)
    loss = build_loss("star_shape")
    right = loss.per_sample(disc, 1e4 * (2.0 * disc - 1)[..., np.newaxis]).numpy()
    assert right == [0]
    assert loss.per_sample(disc, np.full((1, 21, 21, 1), -2.0)).numpy() == [0]
    smaller = (grid**2).sum(0)[np.newaxis] < 25  # a ring of the disc is missed
    missed = loss.per_sample(disc, 1e4 * (2.0 * smaller - 1)[..., np.newaxis]).numpy()
    assert missed > 0


def test_flipped_images_cost_the_same():
    rng = np.random.default_rng(3)
    labels = np.zeros((1, 9, 7), int)
    labels[:, 2:7, 1:6] = 1  # its centroid is a voxel
    logits = rng.normal(size=(1, 9, 7, 2))
    loss = build_loss("star_shape")
    expected = loss.per_sample(labels, logits).numpy()
    for axis in (1, 2):
        flipped = loss.per_sample(np.flip(labels, axis), np.flip(logits, axis)).numpy()
        np.testing.assert_allclose(flipped, expected, rtol=1e-12)


def test_volumes_fit():
    """64^3 voxels, forward and back, in a compiled graph."""
    grid = np.indices((64, 64, 64)) - 32
    labels = ((grid**2).sum(0) < 400)[np.newaxis].astype(int)
    logits = tf.constant(np.random.default_rng(4).normal(size=(1, 64, 64, 64, 1)), tf.float32)
    loss = build_loss("star_shape")

    @tf.function
    def both(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss.per_sample(labels, logits)
        return value, tape.gradient(value, logits)

    value, gradient = both(logits)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
