"""A model repository for Triton: the ONNX graph, and the ``config.pbtxt`` that serves it.

Triton reads a folder of models: ``<repository>/<name>/config.pbtxt`` says what a model takes and
how it is run, and ``<repository>/<name>/<version>/model.onnx`` is run by Triton's ONNX Runtime
backend. A version's folder is an ONNX artifact with its own manifest and parity report, so that
``tfseg predict`` opens it, too. OpenVINO Model Server reads the same folder and leaves
``config.pbtxt`` aside.

There is no TensorRT plan here. Triton's TensorRT backend loads plans of the classic library,
which are compiled on the very GPU that will run them, by the release that Triton holds; the
engines of :mod:`tfseg_export.tensorrt` are TensorRT-RTX's, whose format is another and good for one
release of it. TensorRT is reached through ONNX Runtime instead: its TensorRT execution provider
compiles the graph where it runs (``accelerator="tensorrt"``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError
from tfseg_export import onnx, parity
from tfseg_export.formats import Settings
from tfseg_export.source import Source
from tfseg_export.triton_config import (
    CONFIG,
    Tensors,
    accelerators_in,
    config_text,
    differences,
    read_config,
)

write = onnx.write


def measure(
    folder: Path, source: Source, settings: Settings, windows: parity.Windows
) -> dict[str, Any]:
    """Compare the graph in ``folder``, run by ONNX Runtime on the CPU, with the Keras network."""
    return {
        **onnx.measure(folder, source, settings, windows),
        "statement": (
            "This ONNX graph was run as it was written, by ONNX Runtime on the CPU, which is what "
            "Triton runs it with on a machine without a GPU. Triton, and ONNX Runtime's execution "
            "providers for GPUs, were not run."
        ),
    }


def beside(base: Path, source: Source, settings: Settings) -> dict[Path, str]:
    """Return what the versions of a model share: path -> text of ``config.pbtxt``.

    One that exists is kept, since it may have been fitted to the server's GPUs; nothing is
    returned then.

    Args:
        base: the model's folder in the repository; its name is the model's.
        source: the network.
        settings: the options of this export.

    Raises:
        DataError: the file that exists cannot be read.
        ConfigError: it is for a model with other inputs or outputs, which Triton would refuse to
            load, or it does not have the accelerator that is asked for.
    """
    plan = source.manifest.plan
    tensors = Tensors.of(source.window_shape, plan.num_classes)
    path = base / CONFIG
    if not path.exists():
        return {
            path: config_text(
                base.name,
                tensors,
                labels=plan.labels,
                precision=settings.precision,
                accelerator=settings.accelerator,
            )
        }
    config = read_config(path)
    wrong = differences(config, base.name, tensors)
    if wrong:
        raise ConfigError(
            f"the versions of a Triton model share {path}, so they must take and return the same: "
            f"{wrong}. Choose another --name."
        )
    if settings.accelerator is not None and settings.accelerator not in accelerators_in(config):
        raise ConfigError(
            f"{path} exists and is kept, and must name the accelerator to get it; it has no "
            f"{settings.accelerator!r}. Add it there, or remove the file to have it written anew."
        )
    return {}
