"""Build networks by name, and load trained ones.

Importing this package imports no TensorFlow; calling it does.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError, DataError
from tfseg.files import sha256
from tfseg.models.describe import Description, Option, describe
from tfseg.models.info import ModelInfo
from tfseg.models.presets import PRESETS, Preset
from tfseg.models.registry import MODELS, model_info, segmentation_info
from tfseg.plan import first_problem

if TYPE_CHECKING:
    from tfseg.models.config import ModelConfig

__all__ = [
    "MODELS",
    "PRESETS",
    "Description",
    "ModelInfo",
    "Option",
    "Preset",
    "build",
    "build_from",
    "describe",
    "inference_model",
    "load_run",
    "model_config",
    "model_info",
    "segmentation_info",
]


def model_config(name: str, *, faithful: bool = False, **options: Any) -> ModelConfig:
    """Return the checked configuration of a network.

    Raises:
        ConfigError: unknown network, unknown option, or a value that breaks its rule.
    """
    info = model_info(name)
    config_class = getattr(importlib.import_module(info.module), info.config)
    unknown = sorted(set(options) - set(config_class.model_fields))
    if unknown:
        raise ConfigError(
            f"{name} has no option {unknown[0]!r}. "
            f"Its options: {', '.join(config_class.model_fields)}, faithful."
        )
    if name in PRESETS:
        options = {**PRESETS[name].options, **options}
    if faithful:
        options = {**config_class.paper, **options}
    try:
        return config_class(**options)
    except ValidationError as error:
        raise ConfigError(f"{name}: {first_problem(error)}.") from error


def build(
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    *,
    faithful: bool = False,
    **options: Any,
) -> Any:
    """Build a network as a Keras functional model that returns logits.

    Args:
        name: of a network or a preset, e.g. ``"unet"``.
        input_shape: ([z,] y, x, channels); its length chooses 2D or 3D. Spatial sizes may be
            ``None``.
        num_classes: label values, the background included; at least 1.
        faithful: start from the paper's form instead of today's defaults.
        **options: of the network's configuration class.

    Returns:
        ``keras.Model``: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, num_classes);
        with training heads (deep supervision, auxiliary) a list of such, the full one first.
        A backbone's logits are (batch, num_classes).

    Raises:
        ConfigError: unknown name or option, a rank the network is not offered in, or an input
            size it cannot take; the message names the sizes that fit.
    """
    config = model_config(name, faithful=faithful, **options)
    return build_from(name, input_shape, num_classes, config)


def build_from(
    name: str, input_shape: tuple[int | None, ...], num_classes: int, config: ModelConfig
) -> Any:
    """Build a network from its parsed options; else as :func:`build`."""
    info = model_info(name)
    rank = len(input_shape) - 1
    if rank not in info.dims:
        raise ConfigError(
            f"{name} is offered in {' and '.join(f'{dim}D' for dim in info.dims)}; "
            f"input_shape {tuple(input_shape)} is {rank}D. Give ([z,] y, x, channels)."
        )
    if num_classes < 1:
        raise ConfigError(f"num_classes must be at least 1; got {num_classes}.")
    builder = getattr(importlib.import_module(info.module), f"build_{info.name}")
    return builder(tuple(input_shape), num_classes, config)


def inference_model(model: Any) -> Any:
    """Return the model with its first output only: no training heads."""
    import keras

    if len(model.outputs) == 1:
        return model
    # model.input, not the list model.inputs: Keras warns when one tensor is given for a list.
    return keras.Model(model.input, model.outputs[0], name=model.name)


def load_run(run: str | Path) -> tuple[Any, Manifest]:
    """Load a run folder's network, computing in float32, and its manifest.

    One that ends in softmax or sigmoid is made to return logits again, as all others do.

    Raises:
        DataError: no run there, or a damaged file.
        ConfigError: it ends in sigmoids that do not exclude each other.
    """
    import keras

    from tfseg import layers  # registers the layer classes
    from tfseg.models.answers import with_logits

    del layers
    folder = Path(run)
    path = folder / "model.keras"
    if not path.is_file():
        raise DataError(
            f"{folder} is no finished run: model.keras is missing. "
            "Train first (tfseg train), or name a run folder."
        )
    manifest = Manifest.load(folder, "manifest.json")
    if "model.keras" in manifest.files and sha256(path) != manifest.files["model.keras"]:
        raise DataError(
            f"{path} is not the network of this training: its SHA-256 is not the manifest's. "
            "Restore it, or train again."
        )
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the damaged zip or HDF5 provokes
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be loaded: {reason} Train again or restore it.") from error
    return with_logits(_in_float32(model), path), manifest


def _in_float32(model: Any) -> Any:
    """Return a network trained in half precision as one that computes in float32.

    Half precision is a GPU's: CPUs are slow at it and lack some operators (3D max-pooling), and
    exporters derive it themselves where it is asked for.
    """
    import keras

    def single(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer):  # plain operations follow their input
            config["dtype"] = "float32"
        return type(layer).from_config(config)

    if all(layer.compute_dtype == "float32" for layer in model.layers if hasattr(layer, "dtype")):
        return model
    clone = keras.models.clone_model(model, clone_function=single)
    clone.set_weights(model.get_weights())
    return clone
