"""Concatenated ELU and the gated residual block of PixelCNN++, in 2D and 3D."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.layers.conv import conv
from tfseg.layers.norm import normalise


@keras.saving.register_keras_serializable("tfseg")
class ConcatElu(keras.layers.Layer):
    """ELU of x and of -x, side by side: c channels become 2 c.

    Salimans, Karpathy, Chen, Kingma 2017, arXiv:1701.05517; after Shang et al. 2016,
    arXiv:1603.05201, who do it with ReLU.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.elu(tf.concat([x, -x], -1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], 2 * input_shape[-1])


@keras.saving.register_keras_serializable("tfseg")
class GatedSum(keras.layers.Layer):
    """Take [x (..., c), h (..., 2 c)] and return x + a sigmoid(b), a and b being h's halves."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, h = inputs
        a, b = tf.split(h, 2, -1)
        return x + a * tf.sigmoid(b)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]


def gated_residual(
    x: Any,
    *,
    skip: Any = None,
    dropout: float = 0.0,
    norm: str = "batch",
    bias: bool | None = None,
    name: str,
) -> Any:
    """Add a gated change to ``x``: x + a sigmoid(b), with a and b of one convolution.

    Salimans et al. 2017, arXiv:1701.05517, section 2.2; with normalisation as in Leopold et al.
    2017, arXiv:1712.06742:

        h = norm(conv3(celu(x)) + conv1(celu(skip)))
        a, b = split(conv3(dropout(celu(h))))

    Args:
        x: (batch, [z,] y, x, c).
        skip: features of the same grid, or ``None``.
        dropout: share of h that is dropped in training.
        norm: of h.
        bias: of the convolutions before the norm; ``None`` has them where no norm follows.
        name: prefix of the layers' names.

    Returns:
        The shape of ``x``; ``x`` itself where the last convolution is all zero.
    """
    channels = x.shape[-1]
    bias = norm == "none" if bias is None else bias
    h = ConcatElu(name=f"{name}_1_act")(x)
    h = conv(h, filters=channels, bias=bias, name=f"{name}_1_conv")
    if skip is not None:
        aside = ConcatElu(name=f"{name}_skip_act")(skip)
        aside = conv(aside, filters=channels, kernel=1, bias=bias, name=f"{name}_skip_conv")
        h = keras.layers.Add(name=f"{name}_skip_add")([h, aside])
    h = normalise(h, kind=norm, name=f"{name}_norm")
    h = ConcatElu(name=f"{name}_2_act")(h)
    if dropout:
        h = keras.layers.Dropout(dropout, name=f"{name}_dropout")(h)
    h = conv(h, filters=2 * channels, name=f"{name}_2_conv")
    return GatedSum(name=f"{name}_gate")([x, h])
