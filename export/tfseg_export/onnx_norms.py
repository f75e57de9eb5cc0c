"""Normalisations for ONNX: one InstanceNormalization each, whatever TensorFlow computes them by.

TensorFlow has no operation that normalises a sample; tf2onnx would write out the ten or so that
do it, and runtimes would pass over memory as often. So networks are traced for ONNX with layers
in the place of theirs that call TensorFlow's batch normalisation in training: of one sample the
same function. tf2onnx then asks :func:`write_instance_norm` what to make of it.

A group normalisation is an instance normalisation of the groups, then scale and shift of the
channels. ONNX's own GroupNormalization had its weights by group before opset 21, and runtimes
take it apart, too.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers import InstanceNormalization, spatial_shape

# The operation that stands for an instance normalisation, and what writes it.
MARK = "FusedBatchNormV3"


def with_marked_norms(network: Any) -> Any:
    """Return the functional ``network`` with such layers in it; the others are shared.

    It is there to be traced: it answers as the network does for single samples only.
    """
    return keras.models.clone_model(network, clone_function=_replacement, recursive=True)


def write_instance_norm(context: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """Write the ONNX node for a marked TensorFlow ``node``; a handler of tf2onnx.

    Channels-last input gets a transposition before and after, as tf2onnx's convolutions do: its
    optimiser lets those of neighbours cancel.
    """
    del name, arguments  # the handler's signature
    x, scale, offset, *_ = node.input
    epsilon = node.get_attr_value("epsilon")
    channels_last = node.get_attr_value("data_format")[-1:] in {b"C", "C"}
    result, shape = node.output[0], context.get_shape(node.output[0])
    dtype, rank = context.get_dtype(result), context.get_rank(x)
    context.remove_node(node.name)

    def add(kind: str, inputs: list[str], shape: Any, **attributes: Any) -> Any:
        last = {"outputs": [result]} if attributes.pop("is_last") else {}
        return context.make_node(
            kind,
            inputs,
            attr=attributes,
            shapes=[shape],
            dtypes=[dtype],
            skip_conversion=True,
            op_name_scope=node.name,
            **last,
        ).output[0]

    if not channels_last:
        inputs = [x, scale, offset]
        add("InstanceNormalization", inputs, shape, epsilon=epsilon, is_last=True)
        return
    to_first = [0, rank - 1, *range(1, rank - 1)]
    to_last = [0, *range(2, rank), 1]
    first = None if shape is None else [shape[axis] for axis in to_first]
    x = add("Transpose", [x], first, perm=to_first, is_last=False)
    inputs = [x, scale, offset]
    x = add("InstanceNormalization", inputs, first, epsilon=epsilon, is_last=False)
    add("Transpose", [x], shape, perm=to_last, is_last=True)


def _replacement(layer: Any) -> Any:
    # Exact types: a subclass may compute something else.
    if type(layer) is InstanceNormalization:
        return _MarkedInstanceNorm(layer)
    if type(layer) is keras.layers.GroupNormalization and layer.axis == -1:
        return _MarkedGroupNorm(layer)
    return layer


def _marked(x: tf.Tensor, scale: Any, offset: Any, epsilon: float, data_format: str) -> tf.Tensor:
    nothing = tf.zeros((0,), tf.float32)
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=scale,
        offset=offset,
        mean=nothing,
        variance=nothing,
        epsilon=epsilon,
        data_format=data_format,
        is_training=True,
    ).y


class _MarkedInstanceNorm(keras.layers.Layer):
    """Stands for a :class:`tfseg.layers.InstanceNormalization` and has its weights."""

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.gamma, self.beta, self._epsilon = layer.gamma, layer.beta, layer.epsilon

    def call(self, x: tf.Tensor) -> tf.Tensor:
        data_format = "NHWC" if len(x.shape) == 4 else "NDHWC"
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        return _marked(x, gamma, beta, self._epsilon, data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class _MarkedGroupNorm(keras.layers.Layer):
    """Stands for a Keras GroupNormalization of the last axis and has its weights."""

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self._layer = layer

    def call(self, x: tf.Tensor) -> tf.Tensor:
        layer, channels = self._layer, x.shape[-1]
        rank = len(x.shape)
        sizes = spatial_shape(x)
        # (n, c, [z,] y, x), then the groups as channels: (n, groups, 1, values of a group)
        first = tf.transpose(x, (0, rank - 1, *range(1, rank - 1)))
        values = channels // layer.groups
        for size in sizes:
            values *= size
        groups = tf.reshape(first, (-1, layer.groups, 1, values))
        one, zero = np.ones(layer.groups, np.float32), np.zeros(layer.groups, np.float32)
        groups = _marked(groups, one, zero, layer.epsilon, "NCHW")
        first = tf.reshape(groups, (-1, channels, *sizes))
        x = tf.transpose(first, (0, *range(2, rank), 1))
        if layer.scale:
            x *= tf.convert_to_tensor(layer.gamma)
        if layer.center:
            x += tf.convert_to_tensor(layer.beta)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
