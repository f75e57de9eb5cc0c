"""The soft Dice loss."""

from __future__ import annotations

import tensorflow as tf


def soft_dice_loss(
    labels: tf.Tensor, logits: tf.Tensor, *, smooth: float = 1.0, include_background: bool = False
) -> tf.Tensor:
    """Return 1 - mean over classes of (2 <p, q> + s) / (|p| + |q| + s), one value a sample.

    p is the one-hot reference, q the softmax of the logits, |.| the sum over voxels (the L1
    form). Milletari, Navab, Ahmadi 2016, arXiv:1606.04797 introduced the squared form; this is
    the form of Drozdzal et al. 2016, arXiv:1608.04117. Sums run over one sample, so the value
    does not depend on how a batch is spread over devices.

    Args:
        labels: (batch, [z,] y, x) integers 0..k-1.
        logits: (batch, [z,] y, x, k), k at least 2.
        smooth: s in voxels; with s > 0 a class absent from both costs 0.
        include_background: whether class 0 counts.

    Returns:
        (batch,) float32 in [0, 1].
    """
    classes = logits.shape[-1]
    q = tf.nn.softmax(tf.cast(logits, tf.float32))
    p = tf.one_hot(tf.cast(labels, tf.int32), classes, dtype=tf.float32)
    axes = list(range(1, len(q.shape) - 1))
    both = tf.reduce_sum(p * q, axes)  # (batch, classes)
    total = tf.reduce_sum(p, axes) + tf.reduce_sum(q, axes)
    # With s = 0 a class absent from both is 0 / 0: count it as a perfect 1.
    dice = tf.where(
        total + smooth > 0,
        tf.math.divide_no_nan(2 * both + smooth, total + smooth),
        tf.ones_like(both),
    )
    first = 0 if include_background else 1
    return 1 - tf.reduce_mean(dice[:, first:], axis=-1)
