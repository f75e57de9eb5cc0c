"""Cross-entropies: plain, and with weights a class or a voxel."""

from __future__ import annotations

import tensorflow as tf

from tfseg.losses.fields import Fields


def ce(f: Fields) -> tf.Tensor:
    """Return the mean over voxels of -log q(true class), (batch,).

    Over independent channels it is the binary cross-entropy -(p log q + (1-p) log(1-q)), averaged
    over them too. In the stable form: logits of +-1e4 give finite losses and gradients.
    """
    if f.exclusive:
        return f.voxel_mean(tf.nn.softmax_cross_entropy_with_logits(f.p, f.logits))
    return f.voxel_mean(tf.nn.sigmoid_cross_entropy_with_logits(f.p, f.logits))
