"""An ONNX graph, run by ONNX Runtime on the CPU; imports no TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.inference.backend import Backend
from tfseg.inference.backends.verified import open_manifest

MODEL = "model.onnx"
INPUT = "image"
OUTPUT = "probabilities"

_ERRORS_ONLY = 3  # severity: the optimiser's remarks are not the user's concern


class OnnxBackend(Backend):
    """Answers with the graph ``model.onnx``: image -> probabilities."""

    def __init__(self, folder: Path) -> None:
        """Load ``folder`` without checking it against its manifest.

        Raises:
            DataError: no ONNX graph, or a damaged one.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        path = folder / MODEL
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's exceptions have no common base but this one.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{path} cannot be loaded as an ONNX graph: {reason}") from error

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, [z,] y, x, k) of prepared windows (n, [z,] y, x, c)."""
        return self._session.run([OUTPUT], {INPUT: np.asarray(batch, np.float32)})[0]


def open_artifact(folder: Path) -> tuple[OnnxBackend, Manifest]:
    """Open an ONNX artifact's folder."""
    manifest = open_manifest(folder, "onnx", MODEL)
    return OnnxBackend(folder), manifest
