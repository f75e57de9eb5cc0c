"""Upsampling that starts as linear interpolation, and the margins and crops around it.

Long, Shelhamer, Darrell 2014, arXiv:1411.4038: a network upsamples its class scores by
transposed convolutions of stride s and kernel 2 s, whose initial kernel interpolates linearly.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers.resize import linear_resize
from tfseg.layers.shape import rank_of, spatial_shape


@keras.saving.register_keras_serializable("tfseg")
class LinearKernel(keras.initializers.Initializer):
    """Kernel (size, ..., out, in) that interpolates channel i linearly into channel i.

    Along an axis of size 2 s the weight of tap i is 1 - |i - (s - 1/2)| / s; axes multiply.
    """

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        *sizes, outputs, inputs = shape
        kernel = np.ones(())
        for size in sizes:
            centre, reach = (size - 1) / 2, math.ceil(size / 2)
            taps = 1 - np.abs(np.arange(size) - centre) / reach
            kernel = kernel[..., np.newaxis] * taps
        kernel = kernel[..., np.newaxis, np.newaxis] * np.eye(outputs, inputs)
        return tf.convert_to_tensor(kernel, dtype or "float32")


@keras.saving.register_keras_serializable("tfseg")
class CropAt(keras.layers.Layer):
    """Cut ``inputs[0]`` to the spatial size of ``inputs[1]``, starting at voxel ``offset``.

    Takes [(batch, [z,] y, x, c), reference (batch, [z,] y, x, k)].
    """

    def __init__(self, offset: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offset = offset

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, reference = inputs
        cuts = [slice(self.offset, self.offset + size) for size in spatial_shape(reference)]
        return x[(slice(None), *cuts)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        x, reference = input_shape
        return (x[0], *reference[1:-1], x[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset}


@keras.saving.register_keras_serializable("tfseg")
class LinearScale(keras.layers.Layer):
    """Resize (batch, [z,] y, x, c) linearly by ``factor`` along each axis.

    The size is rounded to a multiple of ``multiple`` voxels, one at least. In the frame of
    :class:`~tfseg.layers.LinearResize`.
    """

    def __init__(self, factor: float, multiple: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor
        self.multiple = multiple

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return linear_resize(x, [self._scaled(size) for size in spatial_shape(x)])

    def _scaled(self, size: Any) -> Any:
        per_cell = self.factor / self.multiple
        if isinstance(size, int):
            return self.multiple * max(1, round(size * per_cell))
        cells = tf.round(tf.cast(size, tf.float32) * per_cell)
        return self.multiple * tf.maximum(1, tf.cast(cells, tf.int32))

    def compute_output_shape(self, input_shape: Any) -> Any:
        spatial = (size and self._scaled(size) for size in input_shape[1:-1])
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor, "multiple": self.multiple}


def linear_deconv(
    x: Any,
    *,
    stride: int,
    padding: str = "same",
    trainable: bool = True,
    dtype: str | None = None,
    name: str,
) -> Any:
    """Upsample by a transposed convolution of kernel 2 ``stride``, at first linear interpolation.

    From n voxels ``same`` makes n * stride, in the frame of a resized image; ``valid`` makes
    (n + 1) * stride, a margin of stride / 2 more on each side. It has no bias. Outside of the
    map there are zeros.

    Args:
        x: (batch, [z,] y, x, c); the result has as many channels.
        stride: along every axis.
        padding: ``same`` or ``valid``.
        trainable: learn the kernel, or keep it.
        dtype: to compute in; the policy's by default.
        name: of the layer.
    """
    layer = keras.layers.Conv2DTranspose if rank_of(x) == 2 else keras.layers.Conv3DTranspose
    return layer(
        x.shape[-1],
        2 * stride,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=LinearKernel(),
        trainable=trainable,
        dtype=dtype,
        name=name,
    )(x)
