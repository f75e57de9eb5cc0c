"""Cross-entropy."""

from __future__ import annotations

import tensorflow as tf


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the mean over voxels of -log q(true class), one value a sample.

    Args:
        labels: (batch, [z,] y, x) integers 0..k-1.
        logits: (batch, [z,] y, x, k) of any float dtype; computed in float32 and in the stable
            form, so logits of +-1e4 give finite losses and gradients.

    Returns:
        (batch,) float32, at least 0.
    """
    voxel = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.cast(labels, tf.int32), logits=tf.cast(logits, tf.float32)
    )
    return tf.reduce_mean(voxel, axis=list(range(1, len(voxel.shape))))
