"""Which models to serve: from folders on the command line, or from TF-Serving's models.config."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError, DataError
from tfseg_serving.manager import ModelConfig, VersionPolicy, versions_below

_SAVED_MODEL = "saved_model.pb"


def models_from_folders(folders: Sequence[str | os.PathLike[str]]) -> list[ModelConfig]:
    """Return what to serve for each folder.

    A folder is a model (it holds ``<version>/saved_model.pb``; its name is the model's name), one
    version of a model (it holds ``saved_model.pb``), or a folder of models.

    Raises:
        DataError: a folder is none of these, or two models have one name.
    """
    configs = [config for folder in folders for config in _models_of(Path(folder))]
    _check_names(configs, DataError)
    return configs


def _models_of(folder: Path) -> list[ModelConfig]:
    if not folder.is_dir():
        raise DataError(f"MODEL_DIR must be a folder; {folder} is none. Export a model first.")
    folder = folder.resolve()
    if (folder / _SAVED_MODEL).is_file():
        if not (folder.name.isascii() and folder.name.isdigit()):
            raise DataError(
                f"a SavedModel's folder must be named by its version, an integer; got {folder}. "
                f"Move it to {folder / '1'}."
            )
        only = VersionPolicy("specific", versions=(int(folder.name),))
        return [ModelConfig(folder.parent.name, folder.parent, only)]
    if versions_below(folder):
        return [ModelConfig(folder.name, folder)]
    below = [
        ModelConfig(child.name, child)
        for child in sorted(folder.iterdir())
        if child.is_dir()
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
    try:
        from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig
    except ImportError as error:
        raise ConfigError(
            "--config needs the package tensorflow-serving-api. Install tfseg[serving]."
        ) from error
    from google.protobuf import text_format

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--config must be a readable text file; {path}: {error}.") from error
    try:
        document = text_format.Parse(text, ModelServerConfig())
    except text_format.ParseError as error:
        raise ConfigError(
            f"Error parsing text-format tensorflow.serving.ModelServerConfig: {path}, {error}."
        ) from error
    if (
        document.WhichOneof("config") != "model_config_list"
        or not document.model_config_list.config
    ):
        raise ConfigError(
            f"{path} must have a model_config_list with at least one config; it has none."
        )
    configs = [_model_of(one, str(path)) for one in document.model_config_list.config]
    _check_names(configs, ConfigError)
    return configs


def _model_of(entry: Any, source: str) -> ModelConfig:
    where = f"{source}, model {entry.name!r}"
    if not entry.name:
        raise ConfigError(f"{source}: every config needs a name; one has none.")
    if entry.model_platform != "tensorflow":
        raise ConfigError(
            f"{where}: model_platform must be 'tensorflow'; got {entry.model_platform!r}."
        )
    base_path = Path(entry.base_path)
    if not base_path.is_absolute():
        raise ConfigError(f"{where}: base_path must be absolute; got {entry.base_path!r}.")
    if entry.HasField("logging_config"):
        raise ConfigError(f"{where}: logging_config is not supported by this server. Remove it.")
    return ModelConfig(
        entry.name, base_path, _policy_of(entry.model_version_policy), dict(entry.version_labels)
    )


def _policy_of(policy: Any) -> VersionPolicy:
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy("all")
    if kind == "specific":
        return VersionPolicy("specific", versions=tuple(policy.specific.versions))
    return VersionPolicy("latest", max(1, policy.latest.num_versions))


def _check_names(configs: Sequence[ModelConfig], error: type[ConfigError | DataError]) -> None:
    seen: dict[str, Path] = {}
    for config in configs:
        if config.name in seen:
            raise error(
                f"model names must differ; {config.name!r} is both {seen[config.name]} and "
                f"{config.base_path}. Rename one folder."
            )
        seen[config.name] = config.base_path
