"""A box as a soft mask, so that the box can be learned from what lies in it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.layers.shape import rank_of, spatial_shape


@keras.saving.register_keras_serializable("tfseg")
class SoftBox(keras.layers.Layer):
    """Draw a box: about 1 inside, about 0 outside, 0.5 on its faces.

    Takes [box (batch, 2 * rank), image (batch, [z,] y, x, c)] and returns the mask (batch, [z,]
    y, x, 1). A box is its centre, then its edge lengths, both in the order of the image's axes
    and as a share of its size. Along an axis with faces at l and u, voxel centre p has

        sigmoid(k (p - l)) * sigmoid(k (u - p))

    and the mask is the product over the axes, which has a gradient for every side of the box.
    Computed in float32.

    Args:
        sharpness: k; the mask rises from 0.1 to 0.9 over 4.4 / k of the image's size.
    """

    def __init__(self, sharpness: float = 40.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sharpness = sharpness

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        box, image = inputs
        rank = rank_of(image)
        wide = tf.cast(box, tf.float32)
        mask = None
        for axis, size in enumerate(spatial_shape(image)):
            centre, half = wide[:, axis, tf.newaxis], wide[:, rank + axis, tf.newaxis] / 2
            voxel = (tf.range(size, dtype=tf.float32) + 0.5) / tf.cast(size, tf.float32)
            after = tf.sigmoid(self.sharpness * (voxel - (centre - half)))
            before = tf.sigmoid(self.sharpness * (centre + half - voxel))
            shape = [-1] + [1] * (rank + 1)
            shape[1 + axis] = size
            side = tf.reshape(after * before, shape)
            mask = side if mask is None else mask * side
        return tf.cast(mask, image.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        _, image = input_shape
        return (*image[:-1], 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sharpness": self.sharpness}
