"""Which models to serve: from folders on the command line, or from TF-Serving's models.config."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError, DataError
from tfseg.files import is_partial
from tfseg.inference.backends.optional import import_runtime
from tfseg.layout import version_of
from tfseg_serving.protos import parse_text, read_text_file
from tfseg_serving.status import StatusError, invalid_argument
from tfseg_serving.versions import ModelConfig, VersionPolicy, versions_below

_SAVED_MODEL = "saved_model.pb"
_PLATFORM = "tensorflow"
_TYPE_TENSORFLOW = 1


def models_from_folders(folders: Sequence[str | os.PathLike[str]]) -> list[ModelConfig]:
    """Return what to serve for each folder.

    A folder is a model (it holds ``<version>/saved_model.pb``; its name is the model's name), one
    version of a model (it holds ``saved_model.pb``), or a folder of models. In that, names that
    begin with a dot are no models: they are what a killed export leaves, a trash, a checkout.

    Raises:
        DataError: a folder is none of these, or two models have one name.
    """
    configs = [config for folder in folders for config in _models_of(Path(folder))]
    _check_names(configs)
    return configs


def _models_of(folder: Path) -> list[ModelConfig]:
    if not folder.is_dir():
        raise DataError(f"MODEL_DIR must be a folder; {folder} is none. Export a model first.")
    folder = folder.resolve()
    if is_partial(folder):
        raise DataError(f"{folder} is what an export has not finished. Export the model again.")
    if (folder / _SAVED_MODEL).is_file():
        version = version_of(folder.name)
        if version is None:
            raise DataError(
                f"a SavedModel's folder must be named by its version, an integer; got {folder}. "
                f"Move it to {folder / '1'}."
            )
        only = VersionPolicy("specific", versions=(version,))
        return [ModelConfig(folder.parent.name, folder.parent, only)]
    if versions_below(folder):
        return [ModelConfig(folder.name, folder)]
    below = [
        ModelConfig(child.name, child)
        for child in sorted(folder.iterdir())
        if not child.name.startswith(".")
        and child.is_dir()
        and any((at / _SAVED_MODEL).is_file() for at in (versions_below(child) or {}).values())
    ]
    if not below:
        raise DataError(
            f"{folder} holds no model: it needs <version>/{_SAVED_MODEL} with an integer version, "
            "or folders that have it. Export with --format savedmodel."
        )
    return below


def models_from_config(path: str | os.PathLike[str]) -> list[ModelConfig]:
    """Read a ``tensorflow.serving.ModelServerConfig`` in text form.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it is no such text, or asks for something that is not served.
    """
    return models_from_text(read_text_file(path, "--config"), str(path))


def models_from_text(text: str, source: str) -> list[ModelConfig]:
    """Read the text of a ``ModelServerConfig``; ``source`` names it in errors.

    Raises:
        ConfigError: it is no such text, or asks for something that is not served.
    """
    messages = import_runtime(
        "tensorflow_serving.config.model_server_config_pb2",
        title="tensorflow-serving-api, which --config needs,",
        extra="serving",
    )
    document = parse_text(text, messages.ModelServerConfig(), source)
    if (
        document.WhichOneof("config") != "model_config_list"
        or not document.model_config_list.config
    ):
        raise ConfigError(
            f"{source} must have a model_config_list with at least one config; it has none."
        )
    try:
        return models_from_list(document.model_config_list)
    except StatusError as error:
        raise ConfigError(f"{source}: {error.message}.") from error


def models_from_list(config_list: Any) -> list[ModelConfig]:
    """Return what a ``ModelConfigList`` asks for.

    Raises:
        StatusError: INVALID_ARGUMENT, in TF-Serving's words, for what it refuses.
    """
    names: set[str] = set()
    for entry in config_list.config:
        if entry.name in names:
            raise invalid_argument(
                f"Illegal to list model {entry.name} multiple times in config list"
            )
        names.add(entry.name)
    return [_model_of(entry) for entry in config_list.config]


def _model_of(entry: Any) -> ModelConfig:
    if not entry.name:
        raise invalid_argument("every config needs a name; one has none")
    if not Path(entry.base_path).is_absolute():
        raise invalid_argument(
            f"Expected model {entry.name} to have an absolute path or URI; got "
            f"base_path()={entry.base_path}"
        )
    platform = _platform_of(entry)
    if platform != _PLATFORM:
        raise invalid_argument(f"Model {entry.name} requests unsupported platform {platform}")
    if entry.HasField("logging_config"):
        raise invalid_argument(
            f"model {entry.name}: logging_config is not supported by this server; remove it"
        )
    return ModelConfig(
        entry.name,
        Path(entry.base_path),
        _policy_of(entry.model_version_policy),
        dict(entry.version_labels),
    )


def _platform_of(entry: Any) -> str:
    """Return the platform, which an old configuration gives as ``model_type``."""
    both = "ModelServerConfig::model_type (deprecated)"
    if entry.model_type:
        if entry.model_platform:
            raise invalid_argument(
                f"Illegal setting both {both} and ModelServerConfig::model_platform, model name "
                f"is {entry.name}"
            )
        if entry.model_type != _TYPE_TENSORFLOW:
            raise invalid_argument(
                f"ModelServerConfig::model_type choice {entry.model_type} not supported."
            )
        return _PLATFORM
    if not entry.model_platform:
        raise invalid_argument(
            f"Illegal setting neither {both} nor ModelServerConfig::model_platform, model name "
            f"is {entry.name}"
        )
    return str(entry.model_platform)


def _policy_of(policy: Any) -> VersionPolicy:
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy("all")
    if kind == "specific":
        return VersionPolicy("specific", versions=tuple(policy.specific.versions))
    return VersionPolicy("latest", max(1, policy.latest.num_versions))


def _check_names(configs: Sequence[ModelConfig]) -> None:
    seen: dict[str, Path] = {}
    for config in configs:
        if config.name in seen:
            raise DataError(
                f"model names must differ; {config.name!r} is both {seen[config.name]} and "
                f"{config.base_path}. Rename one folder."
            )
        seen[config.name] = config.base_path
