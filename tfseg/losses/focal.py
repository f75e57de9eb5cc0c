"""Cross-entropies that weigh a voxel by how well it is predicted."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import tensorflow as tf
from pydantic import Field

from tfseg.losses.cross_entropy import Factors, log_loss, one_a_class
from tfseg.losses.fields import Fields

_CERTAIN = 1e-7  # probabilities are kept this far from 0 and 1 where a logarithm of them is taken


def focal(
    f: Fields,
    *,
    alpha: Annotated[float, Field(ge=0, le=1)] | Factors | None = 0.25,
    gamma: Annotated[float, Field(ge=0)] = 2.0,
) -> tf.Tensor:
    """Return -(a (1-q)^g p log q + (1-a) q^g (1-p) log(1-q)), mean over voxels, (batch,).

    Over exclusive classes -a_c (1-q_c)^g log q_c of the true class c. With alpha .5 and gamma 0
    it is half the cross-entropy. Lin et al. 2017, arXiv:1708.02002.

    Args:
        f: targets and probabilities.
        alpha: weight a of the foreground, where the background has 1 - a; over exclusive classes
            the foreground is every class but 0. Or one weight a class, of its positive side.
            ``None`` weighs both sides with 1.
        gamma: g; how much less a voxel counts that is predicted well already.
    """
    yes: tf.Tensor | float
    if alpha is None:
        yes, no = 1.0, 1.0
    elif isinstance(alpha, tuple):
        yes, no = one_a_class(f, "alpha", alpha), 1.0
    elif f.exclusive:
        yes, no = tf.constant([1 - alpha] + [alpha] * (f.classes - 1), f.dtype), 0.0
    else:
        yes, no = alpha, 1 - alpha
    # In the logarithm a power is a product: finite slopes for any gamma, also at q = 1.
    yes *= tf.exp(gamma * f.log_not_q)
    return f.voxel_mean(log_loss(f, yes, no * tf.exp(gamma * f.log_q)))


def conservative(
    f: Fields,
    *,
    weight: Annotated[float, Field(ge=0)] = 5.0,
    base: Annotated[float, Field(gt=1)] = math.e,
    variant: Literal["abs", "literal"] = "abs",
) -> tf.Tensor:
    """Return w (1 + log_a q)^2 |log_a(-log_a q)| of the true class's q, mean over voxels, (batch,).

    0 at q = 1/a and rising to both ends: neither a bad nor an overly good prediction is wanted,
    so that a network adapts to another domain. To be added to a cross-entropy. Zhu et al. 2018,
    arXiv:1809.00903. Probabilities are kept in [1e-7, 1 - 1e-7].

    Args:
        f: targets and probabilities. An independent channel has a true side: it, or not it.
        weight: w.
        base: a.
        variant: ``literal`` leaves the absolute value out: negative above 1/a, and falling to
            minus infinity at 1.
    """

    def cost(log_q: tf.Tensor) -> tf.Tensor:
        log_q = tf.clip_by_value(log_q, math.log(_CERTAIN), math.log1p(-_CERTAIN))
        log_q /= math.log(base)
        far = tf.math.log(-log_q) / math.log(base)
        return weight * tf.square(1 + log_q) * (tf.abs(far) if variant == "abs" else far)

    values = f.p * cost(f.log_q)
    return f.voxel_mean(values if f.exclusive else values + (1 - f.p) * cost(f.log_not_q))


def ghm(f: Fields, *, bins: Annotated[int, Field(ge=1, le=1000)] = 30) -> tf.Tensor:
    """Return the cross-entropy of every voxel over the density of its gradient norm, (batch,).

    The norm |q - p| (1 - q of the true class, where classes are exclusive) falls into one of M
    bins; a voxel in a bin of R among N has the weight N / (R M), a constant to the gradient. So
    the many easy voxels and the few hopeless ones count less. Li et al. 2019, arXiv:1811.05181,
    GHM-C, without their moving average of the counts.

    The slope is what this loss is made for; the value tells little. While every bin has a voxel
    it is the average over bins of -log(1 - norm), about 1, however good the prediction is.

    Args:
        f: targets and probabilities. Independent channels share one histogram.
        bins: M. The histogram is of each image or, with ``per_image=False``, of the batch.
    """
    norm = tf.abs(f.q - f.p)
    cost = log_loss(f, 1.0, 1.0)
    counted = tf.ones_like(norm)
    for mask in (f.valid, f.weights):
        counted = counted if mask is None else counted * mask[..., tf.newaxis]
    if f.exclusive:
        norm, cost = tf.reduce_sum(norm, -1) / 2, tf.reduce_sum(cost, -1)
        counted = counted[..., 0]
    place = tf.clip_by_value(tf.cast(norm * bins, tf.int32), 0, bins - 1)
    batch = tf.shape(place)[0]
    samples = tf.reshape(tf.range(batch) * bins, [-1] + [1] * (len(place.shape) - 1))
    counts = tf.math.unsorted_segment_sum(
        tf.reshape(counted, [-1]), tf.reshape(place + samples, [-1]), batch * bins
    )
    counts = f.of_image_or_batch(tf.reshape(counts, [batch, bins]))
    weights = tf.math.divide_no_nan(tf.reduce_sum(counts, -1, keepdims=True), counts * bins)
    return f.voxel_mean(tf.stop_gradient(tf.gather(weights, place, batch_dims=1)) * cost)
