"""Greedy non-maximum suppression of 2D and 3D boxes, exact, with fixed sizes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfseg.layers.boxes import box_iou


def unsuppressed(boxes: tf.Tensor, groups: tf.Tensor, threshold: float) -> tf.Tensor:
    """Tell which boxes greedy suppression keeps.

    Box i is dropped if an earlier kept box of its group overlaps it by more than ``threshold``.
    The rule is its own fixed point, keep[i] = no j < i beats i and is kept, and repeating it for
    all boxes at once settles at least one more box each time: from all kept, until nothing
    changes, gives exactly what one after the other gives, usually in a few rounds.

    Args:
        boxes: (batch, n, 2 * rank), best first.
        groups: (batch, n) float; boxes of different groups leave each other alone.
        threshold: of intersection over union.

    Returns:
        (batch, n) float32, 1 where kept, else 0.
    """
    count = boxes.shape[1]
    overlapping = box_iou(boxes, boxes) > threshold
    together = tf.equal(groups[:, :, tf.newaxis], groups[:, tf.newaxis, :])
    earlier = tf.constant(np.tril(np.ones((count, count), np.float32), -1))
    beaten = tf.cast(tf.logical_and(overlapping, together), tf.float32) * earlier  # [i, j]: by j

    def unfinished(keep: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.abs(keep - before)) > 0.5

    def again(keep: tf.Tensor, before: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        del before
        return tf.cast(tf.matmul(beaten, keep) < 0.5, tf.float32), keep

    everything = tf.ones_like(boxes[:, :, :1])
    first, _ = again(everything, everything)
    keep, _ = tf.while_loop(unfinished, again, (first, everything), maximum_iterations=count)
    return keep[..., 0]


def first_kept(keep: tf.Tensor, count: int) -> tf.Tensor:
    """Return the indices (batch, count) of the kept boxes in their order, then of the others.

    Args:
        keep: (batch, n) 1 or 0, ``n >= count``.
        count: of indices.
    """
    n = keep.shape[1]
    # Keys without ties: which of two equal ones comes first, runtimes do not agree on.
    key = keep * float(n) + tf.constant(np.arange(n, 0, -1, dtype=np.float32))
    return tf.math.top_k(key, count).indices
