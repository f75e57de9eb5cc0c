"""TensorFlow Lite: image float32 (1, [z,] y, x, c), prepared -> probabilities (1, [z,] y, x, k).

One window at a time, since the accelerators of phones and edge devices want every size known.
The model holds TensorFlow Lite's builtin operations only, so that any interpreter runs it, with
3D layers written in 2D operations (:mod:`tfseg_export.builtin`); its signature
``serving_default`` names input and output.

``fp16`` stores the weights in float16, half the file. What it computes in is the device's choice:
CPUs in float32, GPU delegates in float16.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfseg.errors import TfsegError
from tfseg.files import write_bytes
from tfseg.inference.backends.onnx import INPUT
from tfseg.inference.backends.tflite import MODEL, TfliteBackend, load_library
from tfseg.quiet import stderr_held
from tfseg_export import parity
from tfseg_export.builtin import with_builtin_layers
from tfseg_export.formats import Settings
from tfseg_export.source import Source


def write(folder: Path, source: Source, settings: Settings) -> dict[str, str]:
    """Write ``model.tflite`` into ``folder``; return the versions of what made it.

    Raises:
        ConfigError: LiteRT, which measures the parity, is not installed.
        TfsegError: the network needs an operation that TensorFlow Lite does not have.
    """
    load_library()  # before the work
    write_bytes(folder / MODEL, _convert(source, settings.precision))
    return {"tensorflow": tf.__version__, "ai-edge-litert": _version()}


def measure(
    folder: Path, source: Source, settings: Settings, windows: parity.Windows
) -> dict[str, Any]:
    """Compare the model in ``folder``, run by LiteRT, with the Keras network."""
    gate = parity.GATES[settings.precision]
    return parity.report(
        windows=parity.compare_windows(source, TfliteBackend(folder), windows, gate),
        precision=settings.precision,
        runtime=f"LiteRT {_version()}, CPU",
        statement="This TensorFlow Lite model was run as it was written, window by window.",
        training_window=windows.training_window,
    )


def _convert(source: Source, precision: str) -> bytes:
    network = with_builtin_layers(source.network)
    classify = dataclasses.replace(source, network=network, _classifiers={}).classifier(
        source.window_shape
    )
    root = tf.Module(name="tfseg")
    root.weights = [variable.value for variable in network.variables]
    # Traced for any batch size, for the form of the layers that the reference has (see
    # Source.reference), then fixed to one window.
    spec = tf.TensorSpec((1, *source.window_shape), tf.float32, name=INPUT)
    root.classify = tf.function(
        lambda image: classify(image), input_signature=[spec], autograph=False
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [root.classify.get_concrete_function()], root
    )
    if precision == "fp16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    try:
        with stderr_held(show_on_error=False):
            content: bytes = converter.convert()
    # The converter's exceptions have no public base but this one.
    except Exception as error:
        raise TfsegError(
            f"TensorFlow Lite cannot take this network: {_reason(str(error))}"
        ) from error
    return content


def _reason(text: str) -> str:
    """Return what the converter's many lines come to."""
    missing = re.search(r"^(?:TF Select|Custom) ops: (.+)$", text, re.MULTILINE)
    if missing:
        return f"it has no operation for {missing[1]}. Export as onnx or openvino."
    return " ".join(text.split())[:300]


def _version() -> str:
    return importlib.metadata.version("ai-edge-litert")
