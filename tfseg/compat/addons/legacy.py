"""From the configuration that Keras 2 wrote to one that Keras 3 reads, and no code on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfseg.errors import DataError

# Layers of Keras 2 that hold code, or call a function of TensorFlow by its name.
_CODE = {"Lambda", "__lambda__"}
_CALLS = {"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"}
_ARGMAX = "nn.max_pool_with_argmax"
_UNPOOLING = {"Addons>MaxUnpooling2D", "Addons>MaxUnpooling2DV2"}

# Options that base classes of Keras 2 wrote, where these layers never had a use for them.
_UNUSED = {
    "DepthwiseConv1D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "DepthwiseConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SeparableConv1D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "Conv1DTranspose": ("groups",),
    "Conv2DTranspose": ("groups",),
    "Conv3DTranspose": ("groups",),
}


def modern(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a model's configuration, as Keras 3 takes it.

    Args:
        config: ``class_name`` and ``config`` of a model of Keras 2.
        path: its file, for the messages.

    Raises:
        DataError: it holds Python code or calls functions that no layer stands for.
    """
    for found in _dictionaries(config):
        if found.get("class_name") in _CODE:
            name = _name(found)
            raise DataError(
                f"{path}: a model must hold no Python code; its layer {name!r} is a Lambda. Only "
                "who trusts the file should run it: with the Keras that made it."
            )
    return _model(config, path)


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _dictionaries(part)


def _name(entry: dict[str, Any]) -> str:
    inner = entry.get("config")
    return str(entry.get("name") or (inner.get("name") if isinstance(inner, dict) else "?"))


def _model(config: dict[str, Any], path: Path) -> dict[str, Any]:
    inner = config["config"]
    # Before version 2.2 a Sequential model was the bare list of its layers.
    inner = {"layers": inner} if isinstance(inner, list) else inner
    inner = {**inner, "layers": [_layer(entry, path) for entry in inner["layers"]]}
    for ends in ("input_layers", "output_layers"):
        if len(inner.get(ends, ())) == 1:
            # One tensor, not a list of one: Keras 3 tells them apart.
            (inner[ends],) = inner[ends]
    return {**config, "config": inner}


def _layer(entry: dict[str, Any], path: Path) -> dict[str, Any]:
    kind, options = entry["class_name"], dict(entry["config"])
    if "layers" in options:
        return _model(entry, path)
    if kind in _CALLS:
        return _argmax(entry, path)
    if isinstance(options.get("layer"), dict):
        options["layer"] = _wrapped(options["layer"], path)
    if kind == "BatchNormalization" and isinstance(options.get("axis"), list):
        (options["axis"],) = options["axis"]
    if kind == "LeakyReLU" and "alpha" in options:
        options["negative_slope"] = options.pop("alpha")
    for name in _UNUSED.get(kind.rpartition(">")[2], ()):
        options.pop(name, None)
    entry = {**entry, "config": options}
    if kind in _UNPOOLING:
        entry["inbound_nodes"] = [_two_inputs(node) for node in entry["inbound_nodes"]]
    return entry


def _wrapped(entry: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a wrapped layer; before version 2.13 it did not say the module of its class."""
    entry = _layer(entry, path)
    registered = ">" in entry["class_name"]
    return {"module": None if registered else "keras.layers", "registered_name": None, **entry}


def _two_inputs(node: list[Any]) -> list[Any]:
    """Return an unpooling's call with the indices as second input, where they had a name."""
    name, place, tensor, named = node[0]
    if "mask" not in named:
        return node
    return [[name, place, tensor, {}], [*named["mask"], {}]]


def _argmax(entry: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the layer that stands for ``tf.nn.max_pool_with_argmax``, without which no unpooling.

    Raises:
        DataError: another function, or options that the layer lacks.
    """
    function = entry["config"].get("function", entry["class_name"])
    calls = entry["inbound_nodes"]
    options = dict(calls[0][3]) if calls and len(calls[0]) == 4 else {}
    known = {"ksize", "strides", "padding", "name"}
    if (
        function != _ARGMAX
        or len(calls) != 1
        or not {"ksize", "strides", "padding"} <= set(options) <= known
    ):
        raise DataError(
            f"{path}: a call of a TensorFlow function in the graph must be {_ARGMAX} of ksize, "
            f"strides, padding; layer {_name(entry)!r} is {function}. A SavedModel of it runs, as "
            "a layer, in keras.layers.TFSMLayer(path, 'serving_default')."
        )
    name, place, tensor = calls[0][:3]
    return {
        "class_name": "tfseg>MaxPoolingWithArgmax",
        "name": entry["name"],
        "config": {
            "name": entry["name"],
            "pool_size": _spatial(options["ksize"]),
            "strides": _spatial(options["strides"]),
            "padding": options["padding"],
        },
        "inbound_nodes": [[[name, place, tensor, {}]]],
    }


def _spatial(size: Any) -> Any:
    """Return the y and x of sizes that may also name batch and channels."""
    return size[1:3] if isinstance(size, list) and len(size) == 4 else size
