"""The boxes that a region proposal network starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def anchor_shapes(
    stride: int, scales: Sequence[float], ratios: Sequence[float], rank: int
) -> list[tuple[float, ...]]:
    """Return the edge lengths in voxels, ([z,] y, x), of the anchors of one cell.

    An anchor of scale a and ratio r has the volume (a * stride) ** rank; its first axis is r
    times as long as the others, which are equal. In 2D that is height over width.
    """
    shapes = []
    for scale in scales:
        for ratio in ratios:
            edge = scale * stride
            others = edge * ratio ** (-1 / rank)
            shapes.append((others * ratio, *(others,) * (rank - 1)))
    return shapes


def level_anchors(
    cells: Sequence[Any], stride: int, shapes: Sequence[Sequence[float]]
) -> tf.Tensor:
    """Return the anchors of a feature map, (cells * len(shapes), 2 * rank).

    Those of a cell stand about its centre; cells come in the map's order, the shapes of a cell
    together, as a convolution's channels do.

    Args:
        cells: ([z,] y, x) of the map; integers or scalar tensors.
        stride: voxels a cell.
        shapes: edge lengths in voxels.
    """
    rank = len(cells)
    lines = [(tf.range(count, dtype=tf.float32) + 0.5) * stride for count in cells]
    centres = tf.stack(tf.meshgrid(*lines, indexing="ij"), axis=-1)
    centres = tf.reshape(centres, (-1, 1, rank))
    half = tf.constant([[length / 2 for length in shape] for shape in shapes], tf.float32)
    boxes = tf.concat([centres - half, centres + half], axis=-1)  # (cells, shapes, 2 * rank)
    return tf.reshape(boxes, (-1, 2 * rank))
