"""Does a network answer with logits, as all of ours do, or with probabilities?

A network of one's own may end in softmax or sigmoid. A second softmax over its answer would leave
the labels as they are and make every probability wrong: 0.9 and 0.1 become 0.69 and 0.31.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from tfseg.errors import ConfigError

_ENDINGS = frozenset({"softmax", "sigmoid", "hardsigmoid"})
_SLACK = 1e-3  # of probabilities: what rounding in half precision adds up to

_log = logging.getLogger(__name__)


def with_logits(model: Any, path: str | os.PathLike[str]) -> Any:
    """Return a Keras network that answers with logits.

    One that answers with probabilities gets their logarithm behind it, whose softmax they are
    again; of one sigmoid, for two classes, the logit. That is logged as a warning.

    Whether it does is found out from its graph and from an answer: a softmax or sigmoid with no
    weights behind it may still be a gate that something else is multiplied by.

    Raises:
        ConfigError: it ends in a sigmoid for each of several classes, so that voxels may belong
            to several or none.
    """
    import keras

    output = model.outputs[0]
    if not _ends_in(output, set()):
        return model
    rng = np.random.default_rng(0)
    shape = [size or 32 for size in model.input_shape[1:]]
    answer = model(rng.normal(0, 3, (1, *shape)).astype(np.float32), training=False)
    values = np.asarray(answer[0] if isinstance(answer, list | tuple) else answer)
    if values.min() < 0 or values.max() > 1 + _SLACK:
        return model
    classes = values.shape[-1]
    if classes == 1:
        p = keras.ops.clip(output, 1e-7, 1 - 1e-7)
        logits = keras.ops.log(p) - keras.ops.log(1.0 - p)
    elif np.abs(values.sum(-1) - 1).max() <= _SLACK:
        logits = keras.ops.log(keras.ops.maximum(output, 1e-30))
    else:
        raise ConfigError(
            f"{path} must return logits, or probabilities that add up to 1 over the classes; it "
            f"ends in a sigmoid for each of {classes} classes, which then exclude each other no "
            "more. Save it without its last activation, or with softmax."
        )
    _log.warning("%s returns probabilities, not logits, and is taken so.", path)
    return keras.Model(model.input, logits, name=model.name)


def _ends_in(tensor: Any, seen: set[int]) -> bool:
    """Tell whether a softmax or sigmoid leads to a tensor past operations without weights."""
    operation, node, _ = tensor._keras_history
    if id(operation) in seen:
        return False
    seen.add(id(operation))
    if getattr(operation, "outputs", None) and hasattr(operation, "layers"):  # a model in it
        return any(_ends_in(output, seen) for output in operation.outputs)
    names = (
        type(operation).__name__,
        getattr(getattr(operation, "activation", None), "__name__", ""),
    )
    if any(name.lower().replace("_", "") in _ENDINGS for name in names):
        return True
    if getattr(operation, "weights", None):
        return False
    inputs = operation._inbound_nodes[node].input_tensors
    return any(_ends_in(one, seen) for one in inputs)
