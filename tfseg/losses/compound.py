"""Sums of losses, and the loss over several training outputs."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfseg.losses.cross_entropy import cross_entropy
from tfseg.losses.dice import soft_dice_loss


def dice_ce(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return soft Dice loss plus cross-entropy, (batch,): Isensee et al. 2021 (nnU-Net)."""
    return soft_dice_loss(labels, logits) + cross_entropy(labels, logits)


def supervised_loss(
    labels: tf.Tensor, outputs: Sequence[tf.Tensor], weights: Sequence[float]
) -> tf.Tensor:
    """Return the weighted sum of :func:`dice_ce` over training outputs, (batch,).

    An output at a coarser grid meets the labels taken at the centre voxel of each of its cells.

    Args:
        labels: (batch, [z,] y, x) integers.
        outputs: logits of each output, the full one first; sizes divide the labels'.
        weights: one for each output at least; cut to their number and scaled to sum 1.
    """
    used = list(weights[: len(outputs)])
    total = tf.zeros(tf.shape(labels)[:1], tf.float32)
    for logits, weight in zip(outputs, used, strict=True):
        total += weight / sum(used) * dice_ce(_at_grid_of(labels, logits), logits)
    return total


def _at_grid_of(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    cuts = [slice(None)]
    for fine, coarse in zip(labels.shape[1:], logits.shape[1:-1], strict=True):
        step = fine // coarse
        cuts.append(slice(step // 2, None, step))
    return labels[tuple(cuts)]
