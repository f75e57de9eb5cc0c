"""Starting a network from weights of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError, DataError


def load_weights(model: Any, source: str) -> int:
    """Copy weights into ``model`` from a file and return the number of layers that took some.

    Args:
        model: the network; changed in place.
        source: a run folder or a ``.keras`` file (layers are matched by name, and those of
            another shape, such as a head for other classes, are left as they are), or a
            ``.weights.h5`` file of exactly this network.

    Raises:
        DataError: no such file, or a damaged one.
        ConfigError: no layer matches, or another kind of file.
    """
    import keras

    path = Path(source)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise DataError(f"weights: there is no file {path}.")
    if path.name.endswith(".weights.h5"):
        try:
            model.load_weights(path)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"weights: {path} does not fit the network: {reason}") from error
        return len(model.layers)
    if path.suffix != ".keras":
        raise ConfigError(
            f"weights must be a run folder, a .keras or a .weights.h5 file; got {path}."
        )
    try:
        donor = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the damaged zip or HDF5 provokes
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"weights: {path} cannot be loaded: {reason}") from error
    taken = _copy_matching(donor, model)
    if not taken:
        raise ConfigError(
            f"weights: no layer of {path} has the name and shape of one of this network's. "
            "Use weights of the same model with the same options."
        )
    return taken


def _copy_matching(donor: Any, model: Any) -> int:
    layers = {layer.name: layer for layer in donor.layers}
    taken = 0
    for layer in model.layers:
        source = layers.get(layer.name)
        if source is None or not layer.weights:
            continue
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if [tuple(weight.shape) for weight in source.weights] == shapes:
            layer.set_weights(source.get_weights())
            taken += 1
    return taken
