"""Shading of MR removed in a graph; see :mod:`tfseg.preprocess.bias`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfseg.preprocess.bias import BIN_WIDTH, BINS, GRID, RIDGE, exponents, sharpening
from tfseg.steps import BiasField
from tfseg_export.slices_graph import each_slice, mean_of


def correct_bias(channel: tf.Tensor, step: BiasField) -> tf.Tensor:
    """Return (z, y, x) divided by its shading."""
    coefficients, low, high = _fit(channel, step)
    z, y, x = (_legendre(tf.shape(channel)[axis], step.order) for axis in range(3))

    def of_slice(index: tf.Tensor) -> tf.Tensor:
        log_field = y @ tf.tensordot(z[index], coefficients, 1) @ tf.transpose(x)
        return tf.cast(channel[index], tf.float64) * tf.exp(-tf.clip_by_value(log_field, low, high))

    return each_slice(channel, of_slice)


def _fit(channel: tf.Tensor, step: BiasField) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the log field's coefficients (order + 1,) * 3 and its bounds, float64."""
    shape = tf.shape(channel)
    thin = -(-shape // GRID)
    samples = channel[:: thin[0], :: thin[1], :: thin[2]]
    samples = tf.reshape(tf.cast(samples, tf.float64), [-1])
    inside = samples > tf.maximum(tf.cast(mean_of(channel), tf.float64), 0.0)
    weight = tf.cast(inside, tf.float64)
    count = tf.maximum(tf.reduce_sum(weight), 1.0)
    logs = tf.math.log(tf.where(inside, samples, 1.0))
    logs = (logs - tf.reduce_sum(logs * weight) / count) * weight

    terms = np.array(exponents(step.order))  # (terms, 3)
    z, y, x = (
        tf.gather(_legendre(shape[axis], step.order)[:: thin[axis]], terms[:, axis], axis=1)
        for axis in range(3)
    )
    basis = z[:, tf.newaxis, tf.newaxis] * y[:, tf.newaxis] * x  # (z, y, x, terms)
    basis = tf.reshape(basis, (-1, len(terms))) * weight[:, tf.newaxis]
    ridge = RIDGE * count * tf.eye(len(terms), dtype=tf.float64)
    normal = tf.matmul(basis, basis, transpose_a=True) + ridge
    mean_of_terms = tf.reduce_sum(basis, axis=0) / count

    def refine(number: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        moved = logs - _sharp(logs - tf.linalg.matvec(basis, found), weight)
        fitted = tf.linalg.solve(normal, tf.matmul(basis, moved[:, tf.newaxis], transpose_a=True))
        found = fitted[:, 0]
        mean = tf.tensordot(mean_of_terms, found, 1)
        return number + 1, tf.concat([found[:1] - mean, found[1:]], 0)

    _, found = tf.while_loop(
        lambda number, _: number < step.iterations,
        refine,
        (tf.constant(0), tf.zeros(len(terms), tf.float64)),
        parallel_iterations=1,
    )
    log_field = tf.linalg.matvec(basis, found)
    coefficients = tf.scatter_nd(terms, found, (step.order + 1,) * 3)
    return coefficients, tf.reduce_min(log_field), tf.reduce_max(log_field)


def _sharp(logs: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Return the expected log u of each sample where only log v is known."""
    unblur, blur, centres = sharpening()
    place = tf.clip_by_value((logs - centres[0]) / BIN_WIDTH, 0.0, BINS - 1.0)
    low = tf.minimum(tf.cast(place, tf.int32), BINS - 2)
    share = place - tf.cast(low, tf.float64)
    histogram = tf.math.unsorted_segment_sum((1 - share) * weight, low, BINS)
    histogram += tf.math.unsorted_segment_sum(share * weight, low + 1, BINS)
    sharp = tf.maximum(tf.linalg.matvec(tf.constant(unblur), histogram), 0.0)
    mass = tf.linalg.matvec(tf.constant(blur), sharp)
    seen = mass > 1e-9 * tf.maximum(tf.reduce_sum(histogram), 1.0)
    first = tf.linalg.matvec(tf.constant(blur), centres * sharp)
    expected = tf.where(seen, first / tf.where(seen, mass, 1.0), centres)
    below = tf.gather(expected, low)
    return below + (tf.gather(expected, low + 1) - below) * share


def _legendre(size: tf.Tensor, order: int) -> tf.Tensor:
    """Return Legendre polynomials (size, order + 1) at voxel centres, the axis being [-1, 1]."""
    places = tf.cast(2 * tf.range(size) + 1, tf.float64) / tf.cast(size, tf.float64) - 1
    columns = [tf.ones_like(places), places]
    for n in range(1, order):  # Bonnet: (n + 1) P(n+1) = (2 n + 1) x P(n) - n P(n-1)
        columns.append(((2 * n + 1) * places * columns[n] - n * columns[n - 1]) / (n + 1))
    return tf.stack(columns, axis=1)
