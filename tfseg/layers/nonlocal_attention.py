"""Attention of every voxel to every voxel: the global aggregation block, in 2D and 3D.

Wang, Zou, Shen, Ji 2018, arXiv:1812.04103, after Vaswani et al. 2017, arXiv:1706.03762.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.layers.conv import conv, transposed_conv
from tfseg.layers.shape import spatial_shape


@keras.saving.register_keras_serializable("tfseg")
class GlobalAttention(keras.layers.Layer):
    """Scaled dot-product attention over all voxels, in ``heads`` heads.

    Takes [queries (batch, [z,] y, x, c), keys and values (batch, [z',] y', x', c)] and returns
    (batch, [z,] y, x, c): softmax(Q K^T / sqrt(c / heads)) V for each head's c / heads channels.
    The softmax is computed in float32 whatever the policy; ``dropout`` is its weights'. Memory
    grows with the product of the numbers of queries and keys.
    """

    def __init__(self, heads: int = 1, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.dropout = heads, dropout
        self.drop = keras.layers.Dropout(dropout, dtype="float32") if dropout else None

    def build(self, input_shape: Any) -> None:
        channels = input_shape[0][-1]
        if channels % self.heads:
            raise ConfigError(
                f"the channels of attention must be divisible by its heads, {self.heads}; "
                f"got {channels}."
            )

    def call(self, inputs: tuple[tf.Tensor, ...], training: bool = False) -> tf.Tensor:
        queries, keys, values = (self._by_head(x) for x in inputs)
        scale = 1 / math.sqrt(queries.shape[-1])
        scores = tf.matmul(queries * tf.cast(scale, queries.dtype), keys, transpose_b=True)
        weights = tf.nn.softmax(tf.cast(scores, tf.float32))  # (batch, heads, queries, keys)
        if self.drop is not None:
            weights = self.drop(weights, training=training)
        answer = tf.matmul(tf.cast(weights, values.dtype), values)
        answer = tf.transpose(answer, (0, 2, 1, 3))  # (batch, queries, heads, c / heads)
        channels = inputs[0].shape[-1]
        return tf.reshape(answer, (-1, *spatial_shape(inputs[0]), channels))

    def _by_head(self, x: tf.Tensor) -> tf.Tensor:
        """Return (batch, heads, voxels, c / heads)."""
        voxels = math.prod(spatial_shape(x))
        channels = x.shape[-1]
        x = tf.reshape(x, (-1, voxels, self.heads, channels // self.heads))
        return tf.transpose(x, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[0][:-1], input_shape[2][-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


def global_aggregation(
    x: Any,
    *,
    filters: int,
    heads: int = 1,
    query: Literal["same", "down", "up"] = "same",
    dropout: float = 0.0,
    name: str,
) -> Any:
    """Answer each query with a weighted sum over the whole map.

    Args:
        x: (batch, [z,] y, x, c).
        filters: channels of queries, keys, values and result.
        heads: that ``filters`` are split into.
        query: how queries are made: by a 1x1 convolution; by a 3x3 one of stride 2, which
            halves the size; or by a transposed one of stride 2, which doubles it.
        dropout: rate of the attention's weights.
        name: prefix of the layers' names.

    Returns:
        (batch, [z,] y, x, filters), at the queries' size.
    """
    if query == "same":
        queries = conv(x, filters=filters, kernel=1, name=f"{name}_query")
    elif query == "down":
        queries = conv(x, filters=filters, stride=2, name=f"{name}_query")
    else:
        queries = transposed_conv(x, filters=filters, kernel=3, stride=2, name=f"{name}_query")
    keys = conv(x, filters=filters, kernel=1, name=f"{name}_key")
    values = conv(x, filters=filters, kernel=1, name=f"{name}_value")
    x = GlobalAttention(heads, dropout, name=f"{name}_attention")([queries, keys, values])
    return conv(x, filters=filters, kernel=1, name=f"{name}_out")
