"""Axis-aligned boxes in 2D and 3D: overlap, coding against other boxes, clipping.

A box is (low corner, high corner), ``2 * rank`` numbers in the order of the image's axes, in
voxels: voxel i covers [i, i + 1), so a box around voxels 3 to 5 is (3, 6).
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tfseg.layers.shape import spatial_shape

SMALLEST = 1e-3  # voxels along an axis: keeps logarithms and quotients finite
_LARGEST_LOG = math.log(1000 / 16)  # of a size's change; Girshick et al., Detectron


def corners(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the low and the high corner, (..., rank) each, of boxes (..., 2 * rank)."""
    rank = boxes.shape[-1] // 2
    return boxes[..., :rank], boxes[..., rank:]


def box_volume(boxes: tf.Tensor) -> tf.Tensor:
    """Return area or volume in voxels, (...), of boxes (..., 2 * rank)."""
    low, high = corners(boxes)
    sizes = tf.maximum(high - low, 0.0)
    volume = sizes[..., 0]
    for axis in range(1, sizes.shape[-1]):
        volume *= sizes[..., axis]
    return volume


def box_iou(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Return intersection over union of every pair, in [0, 1]; of two empty boxes, 0.

    Args:
        first: (..., n, 2 * rank).
        second: (..., m, 2 * rank).

    Returns:
        (..., n, m).
    """
    rank = first.shape[-1] // 2
    one, other = first[..., :, tf.newaxis, :], second[..., tf.newaxis, :, :]
    common = None
    for axis in range(rank):
        low = tf.maximum(one[..., axis], other[..., axis])
        high = tf.minimum(one[..., rank + axis], other[..., rank + axis])
        side = tf.maximum(high - low, 0.0)
        common = side if common is None else common * side
    union = box_volume(one) + box_volume(other) - common
    return common / tf.maximum(union, SMALLEST**rank)


def encode_boxes(boxes: tf.Tensor, anchors: tf.Tensor, weights: tuple[float, float]) -> tf.Tensor:
    """Return boxes as changes of anchors: w_c (c - c_a) / s_a, then w_s log(s / s_a).

    c is the centre, s the size. Ren, He, Girshick, Sun 2015, arXiv:1506.01497, equation 2.

    Args:
        boxes: (..., 2 * rank).
        anchors: of the same or a broadcastable shape.
        weights: (w_c, w_s), which make the changes about as large as class scores.
    """
    centre, size = _centre_and_size(boxes)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    shift = weights[0] * (centre - anchor_centre) / anchor_size
    scale = weights[1] * tf.math.log(size / anchor_size)
    return tf.concat([shift, scale], axis=-1)


def decode_boxes(deltas: tf.Tensor, anchors: tf.Tensor, weights: tuple[float, float]) -> tf.Tensor:
    """Return the boxes that :func:`encode_boxes` turned into ``deltas``; growth is limited."""
    shift, scale = corners(deltas)
    centre, size = _centre_and_size(anchors)
    centre += shift / weights[0] * size
    half = 0.5 * size * tf.exp(tf.minimum(scale / weights[1], _LARGEST_LOG))
    return tf.concat([centre - half, centre + half], axis=-1)


def clip_boxes(boxes: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Cut boxes (..., 2 * rank) to an image (batch, [z,] y, x, c)."""
    limits = tf.stack([tf.cast(size, tf.float32) for size in spatial_shape(image) * 2])
    return tf.clip_by_value(boxes, 0.0, limits)


def take(x: Any, index: tf.Tensor) -> tf.Tensor:
    """Return the entries ``index`` (batch, k) of each sample of ``x`` (batch, n[, c]).

    On the flattened batch, because gathering along two axes is an operation that some
    exporters lack.
    """
    tail = list(x.shape[2:])
    count = tf.shape(x)[1]
    offset = tf.range(tf.shape(x)[0])[:, tf.newaxis] * count
    flat = tf.reshape(x, [-1, *tail])
    return tf.gather(flat, index + offset)


def _centre_and_size(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    low, high = corners(boxes)
    return (low + high) / 2, tf.maximum(high - low, SMALLEST)
