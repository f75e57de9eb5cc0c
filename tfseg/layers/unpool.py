"""Max-pooling that remembers where its maxima were, and the way back, in 2D and 3D.

SegNet (Badrinarayanan, Kendall, Cipolla 2015, arXiv:1511.00561) and DeconvNet (Noh, Hong, Han
2015, arXiv:1505.04366) keep indices. Here each voxel of a window has a mask instead: 1 where it
is the maximum. That needs comparisons and reshapes only, which every exporter takes, in 3D too,
where TensorFlow has no pooling with indices. Of equal maxima the first counts, in the order of
the array, as ``tf.nn.max_pool_with_argmax`` does.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
import tensorflow as tf

from tfseg.layers.shape import rank_of, spatial_shape


@keras.saving.register_keras_serializable("tfseg")
class MaxPoolWithMask(keras.layers.Layer):
    """Max-pool by 2: (batch, [z,] y, x, c) -> (pooled, mask).

    The mask has the pooled size and 2^rank channels for each of the input's: channel
    ``w * c + i`` says whether voxel w of the window is the maximum of channel i. Odd sizes lose
    their last voxel, as any unpadded pooling does.
    """

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        even = [slice(None), *(slice(0, size // 2 * 2) for size in spatial_shape(x))]
        x = x[tuple(even)]
        corners = [
            x[(slice(None), *(slice(start, None, 2) for start in corner))]
            for corner in itertools.product((0, 1), repeat=rank_of(x))
        ]
        pooled = corners[0]
        for corner in corners[1:]:
            pooled = tf.maximum(pooled, corner)
        masks, free = [], tf.ones_like(pooled)
        for corner in corners:
            # The gradient goes to the value, never through the choice.
            here = free * tf.cast(tf.stop_gradient(corner) >= tf.stop_gradient(pooled), x.dtype)
            masks.append(here)
            free -= here
        return pooled, tf.concat(masks, -1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        *spatial, channels = input_shape[1:]
        half = (input_shape[0], *(size and size // 2 for size in spatial))
        return (*half, channels), (*half, channels * 2 ** len(spatial))


@keras.saving.register_keras_serializable("tfseg")
class MaxUnpool(keras.layers.Layer):
    """Put each value where the mask of :class:`MaxPoolWithMask` says, zeros elsewhere.

    Takes [values (batch, [z,] y, x, c), mask (batch, [z,] y, x, c * 2^rank)] and doubles the
    spatial sizes.
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        values, mask = inputs
        rank, channels = rank_of(values), values.shape[-1]
        parts = [values * part for part in tf.split(mask, 2**rank, -1)]
        # Interleave one axis after the other, the last one first: pairs differ in it alone.
        for axis in reversed(range(rank)):
            parts = [
                _interleave(first, second, axis + 1)
                for first, second in zip(parts[::2], parts[1::2], strict=True)
            ]
        whole = parts[0]
        whole.set_shape((values.shape[0], *(n and 2 * n for n in values.shape[1:-1]), channels))
        return whole

    def compute_output_shape(self, input_shape: Any) -> Any:
        values, _ = input_shape
        return (values[0], *(size and 2 * size for size in values[1:-1]), values[-1])


def _interleave(first: tf.Tensor, second: tf.Tensor, axis: int) -> tf.Tensor:
    """Return first[0], second[0], first[1], second[1], ... along ``axis``."""
    sizes = [tf.shape(first)[0], *spatial_shape(first), first.shape[-1]]
    sizes[axis] = 2 * sizes[axis]
    return tf.reshape(tf.stack([first, second], axis + 1), sizes)
