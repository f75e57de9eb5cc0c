"""Reading boxes out of feature maps, and masks back into the image, in 2D and 3D.

He, Gkioxari, Dollar, Girshick 2017, arXiv:1703.06870. Linear interpolation is separable, also
its mean over regular sampling points, so both are products with one small matrix an axis:
exact, differentiable, and made of operations that every exporter has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers.boxes import SMALLEST, box_volume, corners
from tfseg.layers.shape import rank_of, spatial_shape


@keras.saving.register_keras_serializable("tfseg")
class RoiAlign(keras.layers.Layer):
    """Pool boxes from the levels of a feature pyramid to a fixed number of cells.

    Takes [map of each level (batch, [z,] y, x, c), ..., boxes (batch, n, 2 * rank) in image
    voxels] and returns (batch, n, [cells,] cells, cells, c) float32. A cell is the mean over
    ``sampling`` linearly interpolated points an axis; points outside a map have the value of its
    border. Each box is read from one level: the coarsest whose cells are ``canonical`` or more
    in the box's mean edge, or else the finest (Lin et al. 2016, arXiv:1612.03144, equation 1,
    where an edge of 224 is read at stride 16).

    Args:
        cells: a side of the result.
        strides: of the levels, finest first.
        sampling: points a cell and axis.
        canonical: 224 / 16 = 14 in the paper.
    """

    def __init__(
        self,
        cells: int,
        strides: Sequence[int] = (1,),
        sampling: int = 2,
        canonical: float = 14.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.cells = cells
        self.strides = tuple(strides)
        self.sampling = sampling
        self.canonical = canonical

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        *levels, boxes = inputs
        chosen = self._level_of(boxes)
        total = None
        for index, (level, stride) in enumerate(zip(levels, self.strides, strict=True)):
            pooled = pool_boxes(
                level,
                boxes / float(stride),
                cells=self.cells,
                sampling=self.sampling,
                strength=tf.cast(tf.equal(chosen, float(index)), tf.float32),
            )
            total = pooled if total is None else total + pooled
        return total

    def _level_of(self, boxes: tf.Tensor) -> tf.Tensor:
        rank = boxes.shape[-1] // 2
        edge = tf.maximum(box_volume(boxes), SMALLEST) ** (1 / rank)
        level = tf.zeros_like(edge)
        for stride in self.strides[1:]:
            level += tf.cast(edge >= self.canonical * stride, tf.float32)
        return level

    def compute_output_shape(self, input_shape: Any) -> Any:
        *levels, boxes = input_shape
        rank = len(levels[0]) - 2
        return (*boxes[:2], *(self.cells,) * rank, levels[0][-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cells": self.cells,
            "strides": self.strides,
            "sampling": self.sampling,
            "canonical": self.canonical,
        }


def pool_boxes(
    x: tf.Tensor,
    boxes: tf.Tensor,
    *,
    cells: int,
    sampling: int = 2,
    strength: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return boxes of a map as :class:`RoiAlign` reads them.

    Args:
        x: (batch, [z,] y, x, c) float32.
        boxes: (batch, n, 2 * rank) in voxels of ``x``.
        cells: a side of the result.
        sampling: points a cell and axis.
        strength: (batch, n), factor of each box's result.

    Returns:
        (batch, n, [cells,] cells, cells, c).
    """
    rank, channels, count = rank_of(x), x.shape[-1], boxes.shape[1]
    low, high = corners(boxes)
    size = spatial_shape(x)
    reads = [
        _read_matrix(low[..., axis], high[..., axis], cells, size[axis], sampling)
        for axis in range(rank)
    ]
    if strength is not None:
        reads[0] *= strength[..., tf.newaxis, tf.newaxis]
    # First axis of all boxes at once: (batch, n * cells, size) x (batch, size, the rest).
    rest = channels
    for extent in size[1:]:
        rest *= extent
    first = tf.reshape(reads[0], (-1, count * cells, size[0]))
    pooled = tf.matmul(first, tf.reshape(x, (-1, size[0], rest)))
    for axis in range(1, rank):
        rest //= size[axis]
        read = tf.reshape(reads[axis], (-1, 1, cells, size[axis]))
        pooled = tf.reshape(pooled, (-1, cells**axis, size[axis], rest))
        pooled = tf.matmul(read, pooled)  # (batch * n, cells ** axis, cells, rest)
    return tf.reshape(pooled, (-1, count, *(cells,) * rank, channels))


def paste_masks(masks: tf.Tensor, boxes: tf.Tensor, size: Sequence[Any]) -> tf.Tensor:
    """Draw masks into an empty image: linear between their cells, falling to 0 around them.

    Args:
        masks: (batch, n, [cells,] cells, cells, c).
        boxes: (batch, n, 2 * rank) in voxels, where the masks' borders lie.
        size: ([z,] y, x) of the image; integers or scalar tensors.

    Returns:
        (batch, n, [z,] y, x, c).
    """
    rank, cells, channels, count = len(size), masks.shape[2], masks.shape[-1], masks.shape[1]
    low, high = corners(boxes)
    pasted, before, rest = masks, 1, cells ** (rank - 1) * channels
    for axis in range(rank):
        write = tf.reshape(
            _write_matrix(low[..., axis], high[..., axis], cells, size[axis]),
            (-1, 1, size[axis], cells),
        )
        pasted = tf.matmul(write, tf.reshape(pasted, (-1, before, cells, rest)))
        before, rest = before * size[axis], rest // cells
    return tf.reshape(pasted, (-1, count, *size, channels))


def fill_boxes(boxes: tf.Tensor, size: Sequence[Any]) -> tf.Tensor:
    """Return the share of each voxel that lies in each box, (batch, n, [z,] y, x)."""
    low, high = corners(boxes)
    rank, count = len(size), boxes.shape[1]
    filled = None
    for axis in range(rank):
        start = tf.range(size[axis], dtype=tf.float32)
        upper = tf.minimum(high[..., axis, tf.newaxis], start + 1)
        covered = tf.maximum(upper - tf.maximum(low[..., axis, tf.newaxis], start), 0.0)
        shape = [-1, count] + [1] * rank
        shape[2 + axis] = size[axis]
        side = tf.reshape(covered, shape)
        filled = side if filled is None else filled * side
    return filled


def _read_matrix(
    low: tf.Tensor, high: tf.Tensor, cells: int, size: Any, sampling: int
) -> tf.Tensor:
    """Return the weights (batch, n, cells, size) with which cells read voxels along an axis."""
    points = (np.arange(cells * sampling, dtype=np.float32) + 0.5) / (cells * sampling)
    low, high = low[..., tf.newaxis], high[..., tf.newaxis]
    centre = low + (high - low) * points - 0.5  # voxel i has its centre at i
    last = tf.cast(size, tf.float32) - 1.0
    centre = tf.maximum(tf.minimum(centre, last), 0.0)
    weights = _hat(centre, size)  # (batch, n, cells * sampling, size)
    grouped = tf.reshape(weights, (-1, cells, sampling, size))
    return tf.reshape(tf.reduce_mean(grouped, axis=2), (-1, low.shape[1], cells, size))


def _write_matrix(low: tf.Tensor, high: tf.Tensor, cells: int, size: Any) -> tf.Tensor:
    """Return the weights (batch, n, size, cells) with which voxels read cells along an axis."""
    voxel = tf.range(size, dtype=tf.float32) + 0.5
    low, high = low[..., tf.newaxis], high[..., tf.newaxis]
    cell = (voxel - low) / tf.maximum(high - low, SMALLEST) * float(cells) - 0.5
    return _hat(cell, cells)


def _hat(position: tf.Tensor, size: Any) -> tf.Tensor:
    """Return linear interpolation's weights of 0, 1, ..., size - 1 at positions (...)."""
    grid = tf.range(size, dtype=tf.float32)
    return tf.maximum(1.0 - tf.abs(position[..., tf.newaxis] - grid), 0.0)
