"""Sizes of what is resized.

tf2onnx writes a size of 5 from 3 as a factor, the float32 below 5/3, and ONNX rounds sizes down:
4 where the product is taken in double precision, as ONNX' own shape inference does. Almost every
second pair of sizes would be one short.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper


def raise_factors(model: Any) -> None:
    """Replace the factors of ``Resize`` that are no whole numbers by the next greater float32.

    A factor was at most half a step below the ratio of the sizes, so it is above it then, by too
    little to add an element or to move a sample by a ten-thousandth of a voxel.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    names = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    for name in names & constants.keys():
        factors = numpy_helper.to_array(constants[name])
        raised = np.nextafter(factors, np.float32(np.inf))
        whole = factors == np.trunc(factors)
        raised = np.where(whole, factors, raised).astype(np.float32)
        constants[name].CopyFrom(numpy_helper.from_array(raised, name))
