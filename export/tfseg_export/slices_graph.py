"""Work on a channel (z, y, x) slice by slice, in a graph: what its steps and statistics share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

OfSlice = Callable[[tf.Tensor], tf.Tensor]


def sum_of_slices(
    channel: tf.Tensor, term: OfSlice, dtype: tf.DType, shape: tuple[int, ...] = ()
) -> tf.Tensor:
    """Return the sum over z of ``term`` of each slice, which has ``dtype`` and ``shape``."""

    def add(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index + 1, total + term(channel[index])

    _, total = tf.while_loop(
        lambda index, _: index < tf.shape(channel)[0],
        add,
        (tf.constant(0), tf.zeros(shape, dtype)),
        parallel_iterations=1,
    )
    return total


def mean_of(channel: tf.Tensor) -> tf.Tensor:
    """Return the mean of (z, y, x), summed in float64 and rounded to float32."""
    total = sum_of_slices(
        channel, lambda plane: tf.reduce_sum(tf.cast(plane, tf.float64)), tf.float64
    )
    voxels = tf.cast(tf.size(channel, out_type=tf.int64), tf.float64)
    return tf.cast(total / voxels, tf.float32)


def each_slice(channel: tf.Tensor, of_slice: OfSlice) -> tf.Tensor:
    """Return float32 (z, y, x) with ``of_slice(index)`` (y, x) as its slices, one at a time."""
    slices = tf.TensorArray(
        tf.float32, size=tf.shape(channel)[0], element_shape=channel.shape[1:], infer_shape=False
    )

    def write(index: tf.Tensor, slices: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        return index + 1, slices.write(index, tf.cast(of_slice(index), tf.float32))

    _, slices = tf.while_loop(
        lambda index, _: index < tf.shape(channel)[0],
        write,
        (tf.constant(0), slices),
        parallel_iterations=1,
    )
    return tf.ensure_shape(slices.stack(), channel.shape)


def mirrored(index: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Return indices with those outside ``[0, size)`` mirrored at the edge voxels."""
    period = tf.maximum(2 * (size - 1), 1)
    inside = tf.math.floormod(index, period)
    return tf.minimum(inside, period - inside)


def mirror_padded(plane: tf.Tensor, before: tuple[int, int], after: tuple[Any, Any]) -> tf.Tensor:
    """Return (y, x) with ``before`` and ``after`` more voxels along each axis, mirrored."""
    for axis in (0, 1):
        size = tf.shape(plane)[axis]
        index = tf.range(-before[axis], size + after[axis])
        plane = tf.gather(plane, mirrored(index, size), axis=axis)
    return plane
