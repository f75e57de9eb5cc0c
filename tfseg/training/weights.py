"""Starting a network from weights of another, or from published ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from tfseg.errors import ConfigError, DataError
from tfseg.training.pretrained import Arrays, convert, identify

_NAMED = 3  # layers that a report names at most


@dataclass(frozen=True)
class Loaded:
    """What a network took from a file.

    Attributes:
        source: the file, and whose weights it holds.
        taken: names of the layers that have the file's weights now.
        kept: names of the layers that could have taken some and keep their own.
        remark: what the user should know besides; may be empty.
    """

    source: str
    taken: tuple[str, ...]
    kept: tuple[str, ...]
    remark: str = ""

    def __str__(self) -> str:
        text = f"weights: {len(self.taken)} of {len(self.taken) + len(self.kept)} layers "
        text += f"from {self.source}"
        if self.kept:
            more = len(self.kept) - _NAMED
            text += f"; not {', '.join(self.kept[:_NAMED])}"
            text += f" and {more} more" if more > 0 else ""
        return f"{text}. {self.remark}".rstrip() if self.remark else text


def load_weights(model: Any, source: str) -> Loaded:
    """Copy weights into ``model`` from a file.

    Args:
        model: the network; changed in place.
        source: a run folder or a ``.keras`` file, whose layers are matched by name (those of
            another shape, such as a head for other classes, are left as they are); a
            ``.weights.h5`` file of exactly this network; or a file of keras.applications' VGG16,
            VGG19, ResNet50, ResNet101, ResNet152, DenseNet121 or Xception (``.h5``,
            ``.weights.h5`` or ``.keras``, with or without its classifier), for the network's
            encoder.

    Raises:
        DataError: no such file, or a damaged one.
        ConfigError: no layer matches, or another kind of file.
    """
    path = Path(source)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise DataError(f"weights: there is no file {path}.")
    if path.suffix not in {".keras", ".h5"}:
        raise ConfigError(
            f"weights must be a run folder, a .keras, .weights.h5 or .h5 file; got {path}."
        )
    arrays = _keras_arrays(path) if path.suffix == ".keras" else _hdf5_arrays(path)
    found = identify(arrays)
    if found:
        title, published = found
        try:
            conversion = convert(model, title, published, arrays)
        except ConfigError as error:
            raise ConfigError(f"weights: {path}: {error}") from error
        exact = f"Only backbone={published.encoders[0]} gives exactly the published features."
        return Loaded(
            f"{path} ({title})",
            _assign(model, conversion.values),
            conversion.kept,
            "" if conversion.exact else exact,
        )
    if path.name.endswith(".weights.h5"):
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"weights: {path} does not fit the network: {reason}") from error
        return Loaded(str(path), tuple(layer.name for layer in model.layers if layer.weights), ())
    if path.suffix == ".h5":
        raise ConfigError(
            f"weights: {path} must be a file of keras.applications' VGG16, VGG19, ResNet50, "
            "ResNet101, ResNet152, DenseNet121 or Xception; its layers are "
            f"{', '.join(list(arrays)[:_NAMED])}, ..."
        )
    return _load_matching(model, arrays, path)


def _load_matching(model: Any, arrays: Arrays, path: Path) -> Loaded:
    values, kept = {}, []
    for layer in model.layers:
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if not shapes:
            continue
        if [value.shape for value in arrays.get(layer.name, [])] == shapes:
            values[layer.name] = list(arrays[layer.name])
        else:
            kept.append(layer.name)
    if not values:
        raise ConfigError(
            f"weights: no layer of {path} has the name and shape of one of this network's. "
            "Use weights of the same model with the same options."
        )
    return Loaded(str(path), _assign(model, values), tuple(kept))


def _assign(model: Any, values: dict[str, list[np.ndarray]]) -> tuple[str, ...]:
    for name, arrays in values.items():
        model.get_layer(name).set_weights(arrays)
    return tuple(values)


def _keras_arrays(path: Path) -> Arrays:
    try:
        donor = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the damaged zip or HDF5 provokes
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"weights: {path} cannot be loaded: {reason}") from error
    return {layer.name: layer.get_weights() for layer in donor.layers}


def _hdf5_arrays(path: Path) -> Arrays:
    """Read layer name -> weights from either layout that Keras has had.

    Since Keras 3 a ``.weights.h5`` file holds ``layers/<class>_<n>/vars/<i>`` with the layer's
    name as an attribute; before, and in ``.h5`` still, attributes list layers and weights.
    """
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if any(key.startswith("layer_names") for key in root.attrs):
                names = _attribute(root, "layer_names")
                return {name.replace("/", "_"): _listed(root[name]) for name in names}
            if "layers" in root:
                return dict(_numbered(group) for group in root["layers"].values())
    except (OSError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"weights: {path} cannot be read: {reason}") from error
    raise ConfigError(f"weights: {path} must be an HDF5 file written by Keras; it lists no layers.")


def _listed(group: Any) -> list[np.ndarray]:
    return [np.asarray(group[name]) for name in _attribute(group, "weight_names")]


def _attribute(group: Any, key: str) -> list[str]:
    """Return a list of names; a long one is kept in parts, ``<key>0``, ``<key>1``, ..."""
    parts = [name for name in group.attrs if re.fullmatch(rf"{key}\d*", name)]
    parts.sort(key=lambda name: int(name[len(key) :] or 0))
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _numbered(group: Any) -> tuple[str, list[np.ndarray]]:
    variables = group.get("vars", {})
    name = getattr(variables, "attrs", {}).get("name", group.name.rpartition("/")[2])
    return str(name), [np.asarray(variables[key]) for key in sorted(variables, key=int)]
