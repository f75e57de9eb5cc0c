"""OpenVINO: image float32 (1, [z,] y, x, c), prepared -> probabilities (1, [z,] y, x, k).

Converted from the ONNX graph, which has fewer operations than the SavedModel and the same
parity. One window at a time: with a free batch size OpenVINO's CPU plugin fuses less, and fails
outright on some graphs (PSPNet's pooling); ``Model.reshape`` gives another size.

``fp16`` stores the weights in float16, half the file. ``tfseg predict`` computes in float32 all
the same; on GPUs OpenVINO computes in float16, from either file, unless told otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfseg.errors import TfsegError
from tfseg.inference.backends.openvino import MODEL, OpenVinoBackend, load_library, reason_of
from tfseg_export import onnx, parity
from tfseg_export.formats import Settings
from tfseg_export.source import Source


def write(folder: Path, source: Source, settings: Settings) -> dict[str, str]:
    """Write ``model.xml`` and ``model.bin`` into ``folder``; return the versions of what made them.

    Raises:
        ConfigError: OpenVINO is not installed.
        TfsegError: the network needs an operation that OpenVINO does not have.
    """
    openvino = load_library()  # before the work
    graph, versions = onnx.convert(source), onnx.versions()
    try:
        model = openvino.Core().read_model(graph.SerializeToString())
        model.reshape([1, *source.window_shape])
    except RuntimeError as error:
        raise TfsegError(f"OpenVINO cannot take this network: {reason_of(error)}") from error
    for key, value in onnx.properties(source, settings).items():
        model.set_rt_info(value, ["tfseg", key])
    openvino.save_model(model, folder / MODEL, compress_to_fp16=settings.precision == "fp16")
    return {**versions, "openvino": openvino.__version__}


def measure(
    folder: Path, source: Source, settings: Settings, windows: parity.Windows
) -> dict[str, Any]:
    """Compare the model in ``folder``, run by OpenVINO, with the Keras network."""
    gate = parity.GATES[settings.precision]
    return parity.report(
        windows=parity.compare_windows(source, OpenVinoBackend(folder), windows, gate),
        precision=settings.precision,
        runtime=f"OpenVINO {load_library().__version__}, CPU, float32",
        statement="This OpenVINO model was run as it was written, window by window.",
        training_window=windows.training_window,
    )
