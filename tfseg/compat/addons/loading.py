"""Networks that Keras 2 saved, with layers of Addons, as models of Keras 3."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfseg.compat.addons.legacy import modern
from tfseg.compat.addons.saved import StoredModel, Weights, read_saved
from tfseg.errors import DataError

_MODELS = {"Functional": keras.Model, "Model": keras.Model, "Sequential": keras.Sequential}
# Weight normalisation's scratch copy of the layer that it wraps: of use in its first call only.
_SCRATCH = "/data_dep_init/"


def load_addons_model(
    path: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """Return the model in a ``.h5`` file or a SavedModel folder that Keras 2 wrote.

    The network is built anew from its configuration and given the stored weights: it can be
    trained, saved and exported like any other. Nothing of the file is run: no
    Lambda, no pickle, no graph. Losses and optimizers are not restored; compile it again.

    Activations that the file names without a package are Keras' own, as Keras 2 reads them too:
    ``"gelu"`` is exact, though Addons' approximate one was written under the same name. To mean
    that one, pass ``custom_objects={"gelu": tfseg.compat.addons.gelu}``.

    Args:
        path: the file or folder.
        custom_objects: classes and functions by the names that the file has for them.

    Raises:
        DataError: there is no such model; it is damaged; it holds code, or functions or classes
            that nothing stands for; its weights do not fit its layers.
    """
    saved = read_saved(Path(path))
    kind = saved.config.get("class_name")
    if kind not in _MODELS:
        raise DataError(
            f"{path}: the model must be Functional or Sequential; its class is {kind}. Build it "
            "in Python and call its load_weights."
        )
    config = modern(saved.config, saved.path)["config"]
    objects = dict(custom_objects or {})
    try:
        with keras.saving.custom_object_scope(objects):
            model = _MODELS[kind].from_config(_with_activations(config, objects))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        line = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(
            f"{path}: Keras 3 cannot build the network: {line} "
            "Name what is missing in custom_objects."
        ) from error
    _set_weights(model, saved)
    return model


def _with_activations(value: Any, objects: Mapping[str, Any]) -> Any:
    """Return a configuration with the functions that activations of custom names are.

    Given only a name, Keras 3 looks among its own functions and nowhere else.
    """
    if isinstance(value, list):
        return [_with_activations(part, objects) for part in value]
    if not isinstance(value, dict):
        return value
    value = {key: _with_activations(part, objects) for key, part in value.items()}
    name = value.get("activation")
    if isinstance(name, str):
        registered = keras.saving.get_registered_object(name)  # of Addons>name
        value["activation"] = objects.get(name, registered or name)
    return value


def _set_weights(model: keras.Model, saved: StoredModel) -> None:
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    stored = {
        name: [(of, array) for of, array in weights if _SCRATCH not in of]
        for name, weights in saved.weights.items()
    }
    if set(layers) != set(stored):
        odd = sorted(set(layers) ^ set(stored))
        raise DataError(
            f"{saved.path}: weights must be of the network's layers; layer {odd[0]!r} is "
            f"{'not in the network' if odd[0] in stored else 'without weights in the file'}."
        )
    for name, layer in layers.items():
        variables = layer.trainable_weights + layer.non_trainable_weights
        values = _ordered(variables, stored[name])
        expected = [tuple(variable.shape) for variable in variables]
        found = [value.shape for value in values]
        if expected != found:
            raise DataError(
                f"{saved.path}: the weights of layer {name!r} must have the shapes {expected}; "
                f"got {found}."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # of keras.layers.Normalization, which computes from them


def _ordered(variables: list[Any], stored: Weights) -> list[Any]:
    """Return the arrays in the variables' order: by name where names tell, else as stored.

    A frozen wrapper's weights come in another order in Keras 2.
    """
    names = [variable.name for variable in variables]
    by_name = {name.rpartition("/")[2]: array for name, array in stored}
    if len(by_name) == len(stored) and set(by_name) == set(names) and len(names) == len(stored):
        return [by_name[name] for name in names]
    return [array for _, array in stored]
