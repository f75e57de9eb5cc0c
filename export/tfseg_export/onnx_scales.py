"""Convolutions that scale and shift their channels themselves.

A batch normalisation at inference is a factor and a summand for each channel. Behind a
convolution they go into its kernel and bias. TensorFlow's optimiser does that where kernels are
constants, which they are not yet when it runs: see :mod:`tfseg_export.onnx_weights`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

# Operation -> the axis of its kernel that is the channel of its output.
_FILTER_AXIS = {"Conv": 0, "ConvTranspose": 1}


def fold_scales(model: Any) -> None:
    """Fold constant ``Mul`` and ``Add`` by channel into the convolutions right before them."""
    graph = model.graph
    nodes = list(graph.node)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers: defaultdict[str, list[int | None]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for name in node.input:
            readers[name].append(index)
    for value in graph.output:
        readers[value.name].append(None)
    folded: set[int] = set()
    for node in nodes:
        if node.op_type not in _FILTER_AXIS or not _is_plain(node, constants):
            continue
        kernel, *rest = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
        bias = rest[0] if rest else None
        axis = _FILTER_AXIS[node.op_type]
        along = [-1 if each == axis else 1 for each in range(kernel.ndim)]
        first = node.output[0]
        while (index := _only(readers[node.output[0]])) is not None:
            values = _by_channel(nodes[index], constants, kernel.ndim, kernel.shape[axis])
            if values is None:
                break
            if nodes[index].op_type == "Mul":
                kernel = kernel * values.reshape(along)
                bias = None if bias is None else bias * values
            else:
                bias = values if bias is None else bias + values
            node.output[0] = nodes[index].output[0]
            folded.add(index)
        if node.output[0] != first:
            del node.input[1:]
            for part, weights in (("kernel", kernel), ("bias", bias)):
                if weights is not None:
                    name = f"{node.output[0]}/{part}"
                    graph.initializer.append(numpy_helper.from_array(weights, name))
                    node.input.append(name)
    keep(graph, [node for index, node in enumerate(nodes) if index not in folded])


def keep(graph: Any, nodes: list[Any]) -> None:
    """Leave ``nodes`` in the graph, and the constants that they read."""
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    for field, entries in ((graph.node, nodes), (graph.initializer, constants)):
        del field[:]
        field.extend(entries)


def _is_plain(node: Any, constants: dict[str, Any]) -> bool:
    """Say whether a convolution has constant weights and one group."""
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    return groups == 1 and all(name in constants for name in node.input[1:])


def _only(entries: list[Any]) -> Any:
    """Return the entry of a list of one, else ``None``."""
    return entries[0] if len(entries) == 1 else None


def _by_channel(
    node: Any, constants: dict[str, Any], rank: int, channels: int
) -> NDArray[np.float32] | None:
    """Return the constants (channels,) that ``node`` multiplies by or adds, if it does that.

    Args:
        node: reads a tensor (n, c, [z,] y, x).
        constants: of the graph, by name.
        rank: of that tensor.
        channels: its c.
    """
    given = [constants[name] for name in node.input if name in constants]
    if node.op_type not in {"Mul", "Add"} or len(given) != 1:
        return None
    values = numpy_helper.to_array(given[0])
    shape = (1,) * (rank - values.ndim) + values.shape
    if shape not in {(1, channels, *(1,) * (rank - 2)), (1,) * rank}:
        return None
    return np.broadcast_to(values.reshape(-1), (channels,)).astype(np.float32)
