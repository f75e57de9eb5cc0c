"""Converting to ONNX without the weights of the convolutions, which join when it is done.

tf2onnx copies a graph some forty times on its way, with every constant in it: gigabytes for a
network of some hundred megabytes. So the convolutions' kernels enter the traced function as
arguments, tf2onnx sees them as inputs of known shape, and what it then writes between such an
input and the convolution, transpositions for the most part, is computed here once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tfseg_export.onnx_scales import keep

# Kernels of convolutions have spatial axes, channels and filters. What has fewer is small, and
# tf2onnx does more with it where it is a constant.
_KERNEL_RANK = 4


def kernels_of(network: Any) -> dict[str, Any]:
    """Return the variables of ``network`` that are large: name in the graph -> variable."""
    large = [variable for variable in network.variables if len(variable.shape) >= _KERNEL_RANK]
    return {f"kernel{index}": variable for index, variable in enumerate(large)}


def with_kernels_as_arguments(
    call: Callable[[tf.Tensor], dict[str, tf.Tensor]], image: tf.TensorSpec, kernels: dict[str, Any]
) -> Any:
    """Return ``call`` of an image as a ``tf.function`` of the image and the kernels' values."""

    def called(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        with keras.StatelessScope(list(zip(kernels.values(), values, strict=True))):
            return call(image)

    specs = [
        tf.TensorSpec(variable.shape, variable.dtype, name=name)
        for name, variable in kernels.items()
    ]
    return tf.function(called, input_signature=[image, *specs], autograph=False)


def put_kernels_in(model: Any, kernels: dict[str, Any]) -> None:
    """Make the inputs that stand for ``kernels`` constants of the ONNX ``model``.

    Every node that reads constants only is computed and goes.
    """
    graph = model.graph
    images = [value for value in graph.input if value.name not in kernels]
    del graph.input[:]
    graph.input.extend(images)
    for name, variable in kernels.items():
        graph.initializer.append(numpy_helper.from_array(variable.numpy(), name))
    constants = {tensor.name: tensor for tensor in graph.initializer}
    left = []
    for node in graph.node:
        if not node.input or any(name not in constants for name in node.input):
            left.append(node)
            continue
        for name, value in zip(node.output, _computed(node, constants, model), strict=True):
            constants[name] = numpy_helper.from_array(value, name)
    del graph.initializer[:]
    graph.initializer.extend(constants.values())
    keep(graph, left)


def _computed(node: Any, constants: dict[str, Any], model: Any) -> list[Any]:
    """Return the values of a node whose inputs are all constants."""
    values = {name: numpy_helper.to_array(constants[name]) for name in node.input}
    inputs = [
        helper.make_tensor_value_info(name, constants[name].data_type, value.shape)
        for name, value in values.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    alone = helper.make_model(
        helper.make_graph([node], "constant", inputs, outputs), opset_imports=model.opset_import
    )
    return ReferenceEvaluator(alone).run(None, values)
