"""From a volume to stacks of neighbouring slices for a 2D network, and back.

Li et al. 2017, arXiv:1709.07330, call the two F and its inverse. Slices may be cut across any of
the three axes.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfseg")
class SliceStacks(keras.layers.Layer):
    """Give each slice its neighbours as channels: 2.5D.

    With ``axis`` 0, (batch, z, y, x, c) -> (batch * z, y, x, (2 * reach + 1) * c); with 1 and 2
    the slices are those across y, (batch * y, z, x, ...), and across x, (batch * x, z, y, ...).
    Channels are ordered by slice, lowest first. Past the ends the end slices are repeated: with
    reach 1 the first stack is slices 0, 0, 1.
    """

    def __init__(self, reach: int = 1, axis: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reach = reach
        self.axis = axis

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if self.axis:
            x = tf.transpose(x, _to_front(self.axis))
        shape = tf.shape(x)
        padded = tf.concat([x[:, :1]] * self.reach + [x] + [x[:, -1:]] * self.reach, 1)
        shifted = [padded[:, start : start + shape[1]] for start in range(2 * self.reach + 1)]
        stacks = tf.concat(shifted, -1)
        return tf.reshape(stacks, (-1, shape[2], shape[3], stacks.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, count, height, width, channels = (input_shape[i] for i in _to_front(self.axis))
        stacks = None if None in (batch, count) else batch * count
        return (stacks, height, width, (2 * self.reach + 1) * channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reach": self.reach, "axis": self.axis}


@keras.saving.register_keras_serializable("tfseg")
class SlicesToVolume(keras.layers.Layer):
    """Put slices ``inputs[0]`` across ``axis`` together to volumes like ``inputs[1]``.

    With ``axis`` 0, (batch * z, y, x, c) and (batch, z, y, x, k) -> (batch, z, y, x, c).
    """

    def __init__(self, axis: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        slices, reference = inputs
        size, wanted = tf.shape(slices), tf.shape(reference)
        count = wanted[1 + self.axis]
        volume = tf.reshape(slices, (-1, count, size[1], size[2], slices.shape[-1]))
        if self.axis:
            order = _to_front(self.axis)
            volume = tf.transpose(volume, [order.index(place) for place in range(len(order))])
        return volume

    def compute_output_shape(self, input_shape: Any) -> Any:
        slices, reference = input_shape
        return (*reference[:-1], slices[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


def _to_front(axis: int) -> list[int]:
    """Return the order of a volume's five axes that puts spatial ``axis`` behind the batch."""
    others = [place for place in (1, 2, 3) if place != axis + 1]
    return [0, axis + 1, *others, 4]
