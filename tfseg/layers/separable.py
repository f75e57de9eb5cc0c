"""Depthwise and separable convolutions of rank 2 and 3."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.layers.conv import Size, activate, conv
from tfseg.layers.norm import normalise
from tfseg.layers.shape import rank_of


@keras.saving.register_keras_serializable("tfseg")
class DepthwiseConv3D(keras.layers.Layer):
    """Convolve every channel with a kernel of its own, padded to keep the size.

    TensorFlow has no such operator in 3D. A kernel of depth k is k depthwise 2D convolutions of
    all slices, each shifted along z, summed: exact, and of operators that every exporter takes.

    Args:
        kernel: odd edge length.
        stride: along every axis.
        dilation: along every axis; 1 where the stride is not.
    """

    def __init__(self, kernel: int = 3, stride: int = 1, dilation: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel, self.stride, self.dilation = kernel, stride, dilation

    def build(self, input_shape: Any) -> None:
        self.depthwise_kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel, self.kernel, self.kernel, input_shape[-1]),
            initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal"),
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        margin = self.dilation * (self.kernel - 1) // 2
        x = tf.pad(x, [(0, 0), *[(margin, margin)] * 3, (0, 0)])
        shape = tf.shape(x)
        slices = tf.reshape(x, (-1, shape[2], shape[3], x.shape[-1]))
        kernel = tf.cast(tf.convert_to_tensor(self.depthwise_kernel), x.dtype)
        total = None
        depth = shape[1] - 2 * margin
        for step in range(self.kernel):
            filtered = tf.nn.depthwise_conv2d(
                slices,
                kernel[step, ..., tf.newaxis],
                strides=(1, self.stride, self.stride, 1),
                padding="VALID",
                dilations=None if self.stride > 1 else (self.dilation, self.dilation),
            )
            inner = tf.shape(filtered)
            filtered = tf.reshape(filtered, (-1, shape[1], inner[1], inner[2], x.shape[-1]))
            start = step * self.dilation
            filtered = filtered[:, start : start + depth : self.stride]
            total = filtered if total is None else total + filtered
        return total

    def compute_output_shape(self, input_shape: Any) -> Any:
        spatial = (size and -(-size // self.stride) for size in input_shape[1:-1])
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        own = {"kernel": self.kernel, "stride": self.stride, "dilation": self.dilation}
        return {**super().get_config(), **own}


def depthwise_conv(
    x: Any, *, kernel: int = 3, stride: int = 1, dilation: int = 1, name: str
) -> Any:
    """Convolve every channel by itself, without bias, padded to the same size (over stride)."""
    if rank_of(x) == 3:
        return DepthwiseConv3D(kernel, stride, dilation, name=name)(x)
    if stride > 1:
        # Symmetric, as published: TensorFlow's own padding depends on the input's parity.
        margin = (kernel - 1) // 2
        x = keras.layers.ZeroPadding2D(margin, name=f"{name}_pad")(x)
    return keras.layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        dilation_rate=dilation,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=name,
    )(x)


def separable_conv(
    x: Any,
    *,
    filters: int,
    kernel: Size = 3,
    stride: int = 1,
    dilation: int = 1,
    norm: str = "batch",
    activation: str = "relu",
    between: bool = True,
    last: bool = True,
    name: str,
) -> Any:
    """Depthwise then 1x1 convolution, a norm after each, and the activation after both.

    Chollet 2016, arXiv:1610.02357; with ``between`` the activation (and norm) also follows the
    depthwise convolution, as in Chen et al. 2018, arXiv:1802.02611. Without ``last`` the result
    is not activated.
    """
    size = kernel if isinstance(kernel, int) else kernel[0]
    x = depthwise_conv(x, kernel=size, stride=stride, dilation=dilation, name=f"{name}_depthwise")
    if between:
        x = normalise(x, kind=norm, name=f"{name}_depthwise_norm")
        x = activate(x, kind=activation, name=f"{name}_depthwise_act")
    x = conv(x, filters=filters, kernel=1, bias=norm == "none", name=f"{name}_pointwise")
    x = normalise(x, kind=norm, name=f"{name}_norm")
    return activate(x, kind=activation, name=f"{name}_act") if last else x
