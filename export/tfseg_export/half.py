"""Half precision for ONNX graphs: float16 where the work is, float32 where digits matter.

Convolutions and what only moves or clamps their results run in float16. Everything else stays
in float32: normalisations (sums of squares of large maps overflow or lose their digits),
averages, interpolation, softmax, and the graph's input and output. The choice is made by
operator, so that it holds for any network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Multiply-accumulate with a float32 accumulator on every runtime that has float16 at all.
_WORK = frozenset({"Conv", "ConvTranspose"})
# Exact on float16 values, or rounding them once.
_FOLLOW = frozenset({"Relu", "LeakyRelu", "MaxPool", "Concat", "Transpose", "Pad", "Slice"})

_HALF_MAX = float(np.finfo(np.float16).max)


def to_half(model: Any) -> Any:
    """Return ``model`` with its convolutions in float16; input and output stay float32.

    An operator of ``_FOLLOW`` runs in float16 if what it reads was computed in float16.

    Raises:
        OverflowError: a weight does not fit float16.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    weights = {
        tensor.name: tensor
        for tensor in half.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }
    return _Rewriter(half, floats, weights).run()


class _Rewriter:
    """One pass over the nodes in their order; keeps each value in the precisions asked for."""

    def __init__(self, model: Any, floats: set[str], weights: dict[str, Any]) -> None:
        self._model = model
        self._floats = floats
        self._weights = weights
        self._computed_half: set[str] = set()  # float16 is the original, float32 the copy
        self._made: set[str] = set()  # casts and float16 weights that exist
        self._nodes: list[Any] = []

    def run(self) -> Any:
        graph = self._model.graph
        for node in graph.node:
            self._add(node)
        for output in graph.output:
            if output.name in self._computed_half:
                self._cast(output.name, to_half=False)
        del graph.node[:]
        graph.node.extend(self._nodes)
        del graph.value_info[:]  # of the float32 graph
        self._drop_unused_weights()
        return self._model

    def _add(self, node: Any) -> None:
        if not self._runs_half(node):
            for name in node.input:
                if name in self._computed_half:
                    self._cast(name, to_half=False)
            self._nodes.append(node)
            return
        for index, name in enumerate(node.input):
            if name in self._floats or name in self._weights:
                node.input[index] = self._as_half(name)
        for index, name in enumerate(node.output):
            self._computed_half.add(name)
            node.output[index] = _half_name(name)
        self._nodes.append(node)

    def _runs_half(self, node: Any) -> bool:
        if node.op_type in _WORK:
            return True
        read = [name for name in node.input if name in self._floats]
        return node.op_type in _FOLLOW and bool(read) and self._computed_half.issuperset(read)

    def _as_half(self, name: str) -> str:
        half = _half_name(name)
        if name in self._computed_half or half in self._made:
            return half
        if name in self._weights:
            values = numpy_helper.to_array(self._weights[name])
            if np.abs(values).max(initial=0) > _HALF_MAX:
                raise OverflowError(
                    f"weight {name} reaches {np.abs(values).max():.3g}; float16 ends at "
                    f"{_HALF_MAX:g}. Export as fp32."
                )
            tensor = numpy_helper.from_array(values.astype(np.float16), half)
            self._model.graph.initializer.append(tensor)
            self._made.add(half)
        else:
            self._cast(name, to_half=True)
        return half

    def _cast(self, name: str, *, to_half: bool) -> None:
        source, target = (name, _half_name(name)) if to_half else (_half_name(name), name)
        if target in self._made:
            return
        kind = TensorProto.FLOAT16 if to_half else TensorProto.FLOAT
        self._nodes.append(
            helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind)
        )
        self._made.add(target)

    def _drop_unused_weights(self) -> None:
        graph = self._model.graph
        read = {name for node in graph.node for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)


def _half_name(name: str) -> str:
    return f"{name}/half"
