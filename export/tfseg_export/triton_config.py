"""Triton's ``config.pbtxt``: writing one, and reading what a person made of it.

The fields are those of ``inference.ModelConfig`` (model_config.proto of Triton's common
repository).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tfseg.errors import DataError
from tfseg.inference.backends.onnx import INPUT, MODEL, OUTPUT
from tfseg_export.pbtxt import Message, parse_pbtxt

CONFIG = "config.pbtxt"

# Windows that Triton may join into one call: as many as hold about two million voxels, which is
# eight windows of 64^3 or one of 128^3. The memory of a call grows with them.
_VOXELS_A_CALL = 2**21
_MAX_BATCH = 16

_BATCHING = """\
# Windows of several requests that arrive within a millisecond run as one batch. Each window is
# answered as if it were alone.
dynamic_batching { max_queue_delay_microseconds: 1000 }
"""

# The windows' sizes: without them the provider compiles again for each new batch size.
_TENSORRT = """\
# On GPUs ONNX Runtime compiles the graph by TensorRT when the model is loaded, which takes minutes;
# what TensorRT does not know is left to CUDA. To keep the compiled engines, add parameters
# trt_engine_cache_enable "1" and trt_engine_cache_path, a folder that the server may write.
optimization {{
  execution_accelerators {{
    gpu_execution_accelerator [
      {{
        name: "tensorrt"
        parameters {{ key: "precision_mode" value: "{mode}" }}
        parameters {{ key: "trt_profile_min_shapes" value: "{smallest}" }}
        parameters {{ key: "trt_profile_opt_shapes" value: "{largest}" }}
        parameters {{ key: "trt_profile_max_shapes" value: "{largest}" }}
      }}
    ]
  }}
}}
"""

_CONFIG = """\
# How Triton serves this model; the fields are those of inference.ModelConfig. A later export of
# another version keeps this file as it is.
name: "{name}"
backend: "onnxruntime"
default_model_filename: "{file}"

# The batch axis comes before the dimensions below. A larger batch needs more memory.
max_batch_size: {batch}

# A window that is already normalised and resampled: {axes}, channel.
input [
  {{ name: "{input}" data_type: TYPE_FP32 dims: [ {window} ] }}
]
# Probabilities of: {labels}.
output [
  {{ name: "{output}" data_type: TYPE_FP32 dims: [ {answer} ] }}
]

# The newest version serves; a new one is loaded before the old one goes.
version_policy {{ latest {{ num_versions: 1 }} }}
# One instance on each GPU, or on the CPU where there is none.
instance_group [ {{ count: 1 kind: KIND_AUTO }} ]
{batching}{optimization}
# A version is ready when it has answered this once.
model_warmup [
  {{
    name: "zeros"
    batch_size: 1
    inputs {{
      key: "{input}"
      value {{ data_type: TYPE_FP32 dims: [ {window} ] zero_data: true }}
    }}
  }}
]
"""


@dataclass(frozen=True)
class Tensors:
    """What the model takes and returns, without the batch axis.

    Attributes:
        window: ([z,] y, x, c).
        answer: ([z,] y, x, k).
    """

    window: tuple[int, ...]
    answer: tuple[int, ...]

    @classmethod
    def of(cls, window: tuple[int, ...], num_classes: int) -> Tensors:
        """Return those of a network that gives ``num_classes`` for each voxel of ``window``."""
        return cls(window, (*window[:-1], num_classes))

    @property
    def max_batch(self) -> int:
        """Windows that may be joined into one call, at least one."""
        return max(1, min(_MAX_BATCH, _VOXELS_A_CALL // math.prod(self.window[:-1])))


def config_text(
    name: str,
    tensors: Tensors,
    *,
    labels: tuple[str, ...],
    precision: str,
    accelerator: str | None,
) -> str:
    """Return the text of a model's ``config.pbtxt``.

    Args:
        name: of the model, which must be its folder's.
        tensors: what it takes and returns.
        labels: names of the classes.
        precision: of the graph, ``fp32`` or ``fp16``.
        accelerator: ``tensorrt`` or ``None``.
    """
    batch = tensors.max_batch
    optimization = ""
    if accelerator == "tensorrt":
        optimization = _TENSORRT.format(
            mode=precision.upper(),
            smallest=_profile(1, tensors.window),
            largest=_profile(batch, tensors.window),
        )
    return _CONFIG.format(
        name=name,
        file=MODEL,
        batch=batch,
        input=INPUT,
        output=OUTPUT,
        axes=", ".join(("z", "y", "x")[-(len(tensors.window) - 1) :]),
        window=", ".join(map(str, tensors.window)),
        answer=", ".join(map(str, tensors.answer)),
        # A comment ends with its line, whatever a label is called.
        labels=" ".join(", ".join(labels).split()),
        batching=_BATCHING if batch > 1 else "",
        optimization=optimization,
    )


def _profile(batch: int, window: tuple[int, ...]) -> str:
    return f"{INPUT}:{'x'.join(map(str, (batch, *window)))}"


def read_config(path: Path) -> Message:
    """Return a ``config.pbtxt`` as :func:`~tfseg_export.pbtxt.parse_pbtxt` reads it.

    Raises:
        DataError: it cannot be read, or is no such text.
    """
    try:
        return parse_pbtxt(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # text that is no UTF-8 is a ValueError, too
        raise DataError(
            f"{path} must be a model configuration in protobuf's text form: {error}. "
            "Mend it, or remove it to have it written anew."
        ) from error


def differences(config: Message, name: str, tensors: Tensors) -> str:
    """Return what keeps ``config`` from serving a model, in words; empty if nothing does.

    What it does not say Triton reads from the graph, so that is no difference.
    """
    said = _last(config, "name", name)
    if said != name:
        return f"its name is {said!r}, the folder's {name!r}"
    # Without batching by Triton, the batch axis is among the dimensions.
    free = () if _last(config, "max_batch_size", "0") != "0" else (-1,)
    for kind, wanted, window in (
        ("input", INPUT, tensors.window),
        ("output", OUTPUT, tensors.answer),
    ):
        shape = [*free, *window]
        for entry in config.get(kind, []):
            given = _last(entry, "name", "") if isinstance(entry, dict) else entry
            dims = entry.get("dims", []) if isinstance(entry, dict) else []
            fits = len(dims) == len(shape) and all(
                size in ("-1", str(expected)) for size, expected in zip(dims, shape, strict=True)
            )
            if given != wanted or not fits:
                return (
                    f"its {kind} is {given!r} [{', '.join(map(str, dims))}], "
                    f"this network's {wanted!r} {shape}"
                )
    return ""


def accelerators_in(config: Message) -> set[str]:
    """Return the names of the execution accelerators of a configuration."""
    entries: list[Message] = [config]
    for field in ("optimization", "execution_accelerators"):
        entries = _nested(entries, field)
    chosen = [
        *_nested(entries, "gpu_execution_accelerator"),
        *_nested(entries, "cpu_execution_accelerator"),
    ]
    return {_last(entry, "name", "") for entry in chosen}


def _nested(messages: list[Message], field: str) -> list[Message]:
    values = [value for message in messages for value in message.get(field, [])]
    return [value for value in values if isinstance(value, dict)]


def _last(message: Message, field: str, default: str) -> str:
    """Return a single field, of which the last value counts."""
    return str(message.get(field, [default])[-1])
