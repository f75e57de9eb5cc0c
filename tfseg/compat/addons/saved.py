"""What a file of Keras 2 says about a model: its configuration and its weights, nothing run.

An HDF5 file holds the configuration as JSON and arrays by layer. A SavedModel holds the same
JSON in ``keras_metadata.pb`` and a checkpoint, beside a graph that is not looked at here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from numpy.typing import NDArray
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from tfseg.errors import DataError

Weights = list[tuple[str, NDArray[Any]]]
_HDF5_SUFFIXES = (".h5", ".hdf5")
_METADATA = "keras_metadata.pb"
_LAYER = re.compile(r"root\.(layer(?:_with_weights)?-\d+)")


@dataclass(frozen=True)
class StoredModel:
    """A model as it was stored.

    Attributes:
        path: where.
        config: ``class_name`` and ``config`` of the model, in the words of Keras 2.
        weights: of each layer that has any (name, array), trainable ones first.
    """

    path: Path
    config: dict[str, Any]
    weights: dict[str, Weights]


def read_saved(path: Path) -> StoredModel:
    """Return what a ``.h5`` file or a SavedModel folder of Keras 2 says.

    Raises:
        DataError: there is neither at ``path``, or it is damaged.
    """
    if path.is_dir():
        if not (path / _METADATA).is_file():
            raise DataError(
                f"{path} is no SavedModel of Keras 2: it has no {_METADATA}. Another SavedModel "
                "runs, as a layer, in keras.layers.TFSMLayer(path, 'serving_default')."
            )
        return _read_folder(path)
    if not path.is_file():
        raise DataError(f"there is no model at {path}. Give a .h5 file or a SavedModel folder.")
    if path.suffix not in _HDF5_SUFFIXES:
        raise DataError(
            f"a model of Keras 2 is a .h5 or .hdf5 file or a SavedModel folder; got {path}. "
            "Load a .keras file with keras.models.load_model after importing this module."
        )
    return _read_hdf5(path)


def _read_hdf5(path: Path) -> StoredModel:
    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            if config is None:
                raise DataError(
                    f"{path} holds weights but no model (no attribute model_config). Build the "
                    "network and call its load_weights."
                )
            groups = file["model_weights"]
            names = _strings(groups, "layer_names")
            weights = {name: _arrays(path, groups[name]) for name in names}
            rest = groups.get("top_level_model_weights")
            if rest is not None and _strings(rest, "weight_names"):
                raise DataError(
                    f"{path}: weights must belong to layers; the model itself owns some. "
                    "Build it in Python and call its load_weights."
                )
            return StoredModel(path, _json(path, config), {k: v for k, v in weights.items() if v})
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}. Copy it again.") from error


def _strings(group: Any, name: str) -> list[str]:
    """Return an attribute that is a list of texts; Keras cuts long ones into name0, name1, ..."""
    parts = [name] if name in group.attrs else []
    while not parts or parts[0] != name:
        if f"{name}{len(parts)}" not in group.attrs:
            break
        parts.append(f"{name}{len(parts)}")
    values = [value for part in parts for value in group.attrs[part]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _arrays(path: Path, group: Any) -> Weights:
    found = []
    for name in _strings(group, "weight_names"):
        dataset = group[name]
        # Both would read other files of this machine.
        if dataset.file.filename != group.file.filename or dataset.external or dataset.is_virtual:
            raise DataError(f"{path}: arrays must be in the file itself; {name!r} is elsewhere.")
        found.append((name.removesuffix(":0"), np.asarray(dataset)))
    return found


def _read_folder(path: Path) -> StoredModel:
    metadata = _metadata_message()
    try:
        metadata.ParseFromString((path / _METADATA).read_bytes())
    except (message.DecodeError, OSError) as error:
        raise DataError(f"{path / _METADATA} cannot be read: {error}. Copy it again.") from error
    documents = {node.node_path: _json(path, node.metadata) for node in metadata.nodes}
    root = documents.get("root", {})
    if "config" not in root:
        raise DataError(
            f"{path}: the model must be Sequential or Functional; its class stored no "
            "configuration. It runs, as a layer, in keras.layers.TFSMLayer(path, "
            "'serving_default')."
        )
    try:
        checkpoint = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        graph = TrackableObjectGraph.FromString(
            checkpoint.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        )
        weights = {}
        for place, document in documents.items():
            if match := _LAYER.fullmatch(place):
                layer = _child(graph, graph.nodes[0], match[1])
                weights[document["name"]] = layer and _variables(checkpoint, graph, layer)
    except (tf.errors.OpError, ValueError, KeyError) as error:
        line = str(error).splitlines()[0]
        raise DataError(f"{path}: its variables cannot be read: {line}. Copy it again.") from error
    return StoredModel(path, root, {name: values for name, values in weights.items() if values})


def _child(graph: Any, node: Any, *names: str) -> Any:
    """Return what the attributes ``names``, one after the other, lead to; ``None`` if nowhere."""
    for name in names:
        numbers = {child.local_name: child.node_id for child in node.children}
        if name not in numbers:
            return None
        node = graph.nodes[numbers[name]]
    return node


def _variables(checkpoint: Any, graph: Any, layer: Any) -> Weights:
    """Return a layer's variables in the order of Keras 2: trainable ones, then the others."""
    found = []
    for names in (("trainable_variables",), ("keras_api", "non_trainable_variables")):
        node = _child(graph, layer, *names)
        if node is None:
            continue  # inputs and functions keep no lists
        for child in sorted(node.children, key=lambda child: int(child.local_name)):
            (stored,) = graph.nodes[child.node_id].attributes
            found.append((stored.full_name, checkpoint.get_tensor(stored.checkpoint_key)))
    return found


def _metadata_message() -> Any:
    """Return an empty message of ``keras_metadata.pb``, of the fields that are read here."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tfseg/keras_metadata.proto", package="tfseg.keras2", syntax="proto3"
    )
    node = file.message_type.add(name="SavedObject")
    for number, name in ((3, "node_path"), (5, "metadata")):
        node.field.add(name=name, number=number, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    file.message_type.add(name="SavedMetadata").field.add(
        name="nodes",
        number=1,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=".tfseg.keras2.SavedObject",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = pool.FindMessageTypeByName("tfseg.keras2.SavedMetadata")
    return message_factory.GetMessageClass(kind)()


def _json(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        return json.loads(text, object_hook=_plain)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: its configuration is no valid JSON: {error}.") from error


def _plain(value: dict[str, Any]) -> Any:
    """Turn Keras 2's marked tuples and shapes into lists."""
    kinds = {"__tuple__", "TensorShape"}
    return value["items"] if value.get("class_name") in kinds and "items" in value else value
