"""ONNX: image float32 (n, [z,] y, x, c), prepared -> probabilities float32 (n, [z,] y, x, k).

The batch size is free, the window is the plan's. That is what the sliding window asks for, it
is what transposed convolutions of rank 3 need, and runtimes plan memory better for it. The free
batch size also keeps the conversion cheap: with a fixed one every tensor has a known shape, and
tf2onnx folds constants as large as the activations (gigabytes for a window of 96^3). The other
gigabytes, copies of the weights, are spared by :mod:`tfseg_export.onnx_weights`; what makes the
graph fast to run, by :mod:`tfseg_export.onnx_norms`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from tfseg import __version__
from tfseg.inference.backends.onnx import INPUT, MODEL, OUTPUT, OnnxBackend
from tfseg_export import parity
from tfseg_export.formats import Settings
from tfseg_export.half import to_half
from tfseg_export.onnx_norms import MARK, with_marked_norms, write_instance_norm
from tfseg_export.onnx_resize import raise_factors
from tfseg_export.onnx_scales import fold_scales
from tfseg_export.onnx_weights import kernels_of, put_kernels_in, with_kernels_as_arguments
from tfseg_export.source import Source

OPSET = 18

_CATCH_ERRORS = tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS


def write(folder: Path, source: Source, settings: Settings) -> dict[str, str]:
    """Write ``model.onnx`` into ``folder``; return the versions of what made it."""
    model = convert(source)
    if settings.precision == "fp16":
        model = to_half(model)
    onnx.helper.set_model_props(model, properties(source, settings))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / MODEL)
    return versions()


def properties(source: Source, settings: Settings) -> dict[str, str]:
    """Return what the graph says of itself, for readers without the manifest."""
    return {
        "tfseg_version": __version__,
        "model": source.manifest.model,
        "precision": settings.precision,
        "input": INPUT,
        "output": OUTPUT,
    }


def versions() -> dict[str, str]:
    """Return the versions of what converts."""
    return {"tf2onnx": tf2onnx.__version__, "onnx": onnx.__version__}


def measure(
    folder: Path, source: Source, settings: Settings, windows: parity.Windows
) -> dict[str, Any]:
    """Compare the graph in ``folder``, run by ONNX Runtime, with the Keras network."""
    gate = parity.GATES[settings.precision]
    return parity.report(
        windows=parity.compare_windows(source, OnnxBackend(folder), windows, gate),
        precision=settings.precision,
        runtime=f"ONNX Runtime {onnxruntime.__version__}, CPU",
        statement="This ONNX graph was run as it was written.",
        training_window=windows.training_window,
    )


def convert(source: Source) -> Any:
    """Return the network as an ONNX model in float32, batch size free."""
    marked = dataclasses.replace(source, network=with_marked_norms(source.network))
    kernels = kernels_of(marked.network)
    image = tf.TensorSpec((None, *source.window_shape), tf.float32, name=INPUT)
    function = with_kernels_as_arguments(
        lambda image: {OUTPUT: marked.probabilities(image)}, image, kernels
    )
    with _strict():
        model, _ = tf2onnx.convert.from_function(
            function,
            function.input_signature,
            opset=OPSET,
            custom_op_handlers={MARK: (write_instance_norm, [])},
        )
    put_kernels_in(model, kernels)
    fold_scales(model)
    raise_factors(model)
    given = [value.name for value in model.graph.input], [v.name for v in model.graph.output]
    if given != ([INPUT], [OUTPUT]):
        raise RuntimeError(f"tf2onnx must keep the names ({INPUT}, {OUTPUT}); it made {given}")
    model.producer_name = "tfseg"
    model.producer_version = __version__
    model.graph.name = source.manifest.model
    return model


@contextmanager
def _strict() -> Iterator[None]:
    """Let tf2onnx raise its optimisers' errors and keep their progress to itself.

    By default it copies the graph before each optimiser, which takes as long as the rest of the
    conversion, and goes on without the one that failed.
    """
    logger = logging.getLogger("tf2onnx")
    level, setting = logger.level, os.environ.get(_CATCH_ERRORS)
    logger.setLevel(logging.ERROR)
    os.environ[_CATCH_ERRORS] = "FALSE"
    try:
        yield
    finally:
        logger.setLevel(level)
        if setting is None:
            del os.environ[_CATCH_ERRORS]
        else:
            os.environ[_CATCH_ERRORS] = setting
