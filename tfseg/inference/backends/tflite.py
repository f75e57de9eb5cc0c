"""A TensorFlow Lite model, run by LiteRT's interpreter on the CPU; imports no TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.inference.backend import Backend
from tfseg.inference.backends.optional import import_runtime
from tfseg.inference.backends.verified import open_manifest
from tfseg.quiet import stderr_held

MODEL = "model.tflite"
SIGNATURE = "serving_default"  # one input and one output, with the names that ONNX has too


def load_library() -> ModuleType:
    """Import LiteRT's interpreter module.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    return import_runtime("ai_edge_litert.interpreter", title="LiteRT", extra="tflite")


class TfliteBackend(Backend):
    """Answers with ``model.tflite``, one window at a time, on all cores."""

    def __init__(self, folder: Path) -> None:
        """Load ``folder`` without checking it against its manifest.

        Raises:
            ConfigError: LiteRT is not installed.
            DataError: no TensorFlow Lite model, a damaged one, or one of another signature.
        """
        library = load_library()
        path = folder / MODEL
        try:
            # Its native code announces every accelerator that it tries.
            with stderr_held(show_on_error=False):
                self._interpreter = library.Interpreter(
                    model_path=str(path), num_threads=os.cpu_count()
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{path} cannot be loaded as a TensorFlow Lite model: {reason}"
            ) from error
        inputs, outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        if len(inputs) != 1 or len(outputs) != 1:
            raise DataError(
                f"{path} must have one input and one output; it has {len(inputs)} and "
                f"{len(outputs)}. Export it with tfseg export."
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, [z,] y, x, k) of prepared windows (n, [z,] y, x, c)."""
        return np.concatenate([self._run(window[np.newaxis]) for window in batch])

    def _run(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(window, np.float32))
        self._interpreter.invoke()
        answer: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return answer


def open_artifact(folder: Path) -> tuple[TfliteBackend, Manifest]:
    """Open a TensorFlow Lite artifact's folder."""
    manifest = open_manifest(folder, "tflite", MODEL)
    return TfliteBackend(folder), manifest
