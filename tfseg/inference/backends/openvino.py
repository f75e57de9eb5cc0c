"""An OpenVINO model, run on the CPU in float32; imports no TensorFlow."""

from __future__ import annotations

import re
import sys
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

MODEL = "model.xml"  # the graph
WEIGHTS = "model.bin"

_TELEMETRY = "openvino_telemetry"

_WHERE = re.compile(r"Exception from |Check '.*' failed at |FrontEnd API failed with ")


def load_library() -> ModuleType:
    """Import OpenVINO, without its telemetry.

    Its import reports to Intel's servers unless the user has opted out before; where the
    telemetry package cannot be imported OpenVINO does without. Software that reads patients'
    images opens no connection that nobody asked for.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    hide = _TELEMETRY not in sys.modules
    if hide:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # "cannot be imported"
    try:
        return import_runtime("openvino", title="OpenVINO", extra="openvino")
    finally:
        if hide:
            del sys.modules[_TELEMETRY]


def reason_of(error: RuntimeError) -> str:
    """Return what an exception of OpenVINO says, without where in its source it was raised."""
    lines = [line for line in str(error).splitlines() if not _WHERE.match(line)]
    return " ".join(" ".join(lines).split())[:300]


class OpenVinoBackend(Backend):
    """Answers with ``model.xml`` and ``model.bin``, one window at a time."""

    def __init__(self, folder: Path) -> None:
        """Load ``folder`` without checking it against its manifest.

        Raises:
            ConfigError: OpenVINO is not installed.
            DataError: no OpenVINO model, or a damaged one.
        """
        openvino = load_library()
        # By default OpenVINO computes in bfloat16 on CPUs that have it: 8 bits of precision, and
        # other labels on other machines.
        hint = openvino.properties.hint.inference_precision
        path = folder / MODEL
        try:
            # A file that is no graph is tried as every other format; their readers complain.
            with stderr_held(show_on_error=False):
                self._model = openvino.Core().compile_model(path, "CPU", {hint: openvino.Type.f32})
        except RuntimeError as error:
            raise DataError(
                f"{path} cannot be loaded as an OpenVINO model: {reason_of(error)}"
            ) from error

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, [z,] y, x, k) of prepared windows (n, [z,] y, x, c)."""
        return np.concatenate([self._run(window[np.newaxis]) for window in batch])

    def _run(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = self._model([np.asarray(window, np.float32)])[0]
        return answer


def open_artifact(folder: Path) -> tuple[OpenVinoBackend, Manifest]:
    """Open an OpenVINO artifact's folder."""
    files = [name for name in (MODEL, WEIGHTS) if (folder / name).is_file()]
    manifest = open_manifest(folder, "openvino", *files)
    return OpenVinoBackend(folder), manifest
