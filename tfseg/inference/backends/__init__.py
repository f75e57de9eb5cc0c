"""Whatever can answer for a network: a run folder or an exported artifact, one call for all."""

from __future__ import annotations

import importlib
from pathlib import Path

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.inference.backend import Backend
from tfseg.layout import newest_version
from tfseg.quiet import import_tensorflow

# What a folder of each kind holds, and the module whose ``open_artifact`` loads it. A file of
# that name is taken for its folder. TensorRT comes before ONNX: its folder carries both.
_KINDS = (
    ("model.keras", "tfseg.inference.backends.keras_run"),
    ("model.engine", "tfseg.inference.backends.tensorrt"),
    ("model.onnx", "tfseg.inference.backends.onnx"),
    ("model.tflite", "tfseg.inference.backends.tflite"),
    ("model.xml", "tfseg.inference.backends.openvino"),
    ("saved_model.pb", "tfseg.inference.backends.savedmodel"),
)
_WITH_TENSORFLOW = ("model.keras", "saved_model.pb")


def open_backend(path: str | Path) -> tuple[Backend, Manifest]:
    """Open a run folder or an artifact.

    Args:
        path: the run folder, the artifact's folder, its main file, or, for a SavedModel, the
            folder of versions (the highest is taken).

    Raises:
        DataError: nothing there that can be opened, or a damaged file.
    """
    given = Path(path)
    if not given.exists():
        raise DataError(f"there is no model {given}. Name a run folder or an exported artifact.")
    folder = given.parent if given.is_file() else given
    names = [given.name] if given.is_file() else [name for name, _ in _KINDS]
    for name, module in _KINDS:
        if name in names and (folder / name).is_file():
            if name in _WITH_TENSORFLOW:
                import_tensorflow()
            return importlib.import_module(module).open_artifact(folder)
    newest = newest_version(given) if given.is_dir() else None
    if newest is not None:
        return open_backend(newest)
    raise DataError(
        f"{given} is no model: looked for {', '.join(name for name, _ in _KINDS)}. "
        "Name a run folder or an exported artifact."
    )
