"""SavedModel: two signatures for TensorFlow Serving, of stock TensorFlow operations only.

* ``serving_default``: image float32 (n, [z,] y, x, c), prepared -> probabilities;
* ``segment``: volume float32 (z, y, x, c), raw, and spacing_mm float32 (3,) -> labels uint8
  (z, y, x); see :mod:`tfseg_export.segment_graph`.

Only the weights and these two functions are saved: loading needs neither Keras nor tfseg.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfseg.inference.backends.savedmodel import SavedModelBackend
from tfseg.layout import EXTRA
from tfseg_export import parity
from tfseg_export.formats import Settings
from tfseg_export.segment_graph import SegmentGraph
from tfseg_export.source import Source

WARMUP_FILE = "tf_serving_warmup_requests"  # the name TensorFlow Serving looks for

# The smallest volume whose every axis has something to interpolate.
_WARMUP_VOLUME = (2, 2, 2)


def write(folder: Path, source: Source, settings: Settings) -> dict[str, str]:
    """Write the SavedModel into ``folder``; return the versions of what made it."""
    plan = source.manifest.plan
    root = tf.Module(name="tfseg")
    # The weights themselves: the Keras model would bring its whole object graph along.
    root.weights = [variable.value for variable in source.network.variables]
    root.classify = source.classifier(source.input_shape)
    root.segment = SegmentGraph(source.probabilities, plan).segment
    tf.saved_model.save(
        root,
        str(folder),
        signatures={"serving_default": root.classify, "segment": root.segment},
    )
    extra = folder / EXTRA
    extra.mkdir()
    volume = np.zeros((*_WARMUP_VOLUME, len(plan.channels)), np.float32)
    spacing = np.asarray(plan.target_spacing((1.0, 1.0, 1.0)), np.float32)
    records = [
        _prediction_log("serving_default", image=_zeros((1, *source.window_shape))),
        _prediction_log("segment", volume=_tensor(volume), spacing_mm=_tensor(spacing)),
    ]
    with tf.io.TFRecordWriter(str(extra / WARMUP_FILE)) as writer:
        for record in records:
            writer.write(record)
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def measure(
    folder: Path, source: Source, settings: Settings, windows: parity.Windows
) -> dict[str, Any]:
    """Compare both signatures of the files in ``folder`` with the Keras network."""
    backend = SavedModelBackend(folder)
    gate = parity.GATES[settings.precision]
    return parity.report(
        windows=parity.compare_windows(source, backend, windows, gate),
        segment=parity.compare_segment(source, gate, backend.segment),
        precision=settings.precision,
        runtime=f"TensorFlow {tf.__version__}, tf.saved_model.load",
        statement="Both signatures of this SavedModel were run as they were written.",
        training_window=windows.training_window,
    )


def _tensor(array: NDArray[np.float32]) -> bytes:
    message: bytes = tf.make_tensor_proto(array).SerializeToString()
    return message


def _zeros(shape: tuple[int, ...]) -> bytes:
    """Return a serialised TensorProto of zeros; one value stands for all of them."""
    proto = tf.make_tensor_proto(np.zeros(1, np.float32))
    proto.ClearField("tensor_content")
    proto.float_val[:] = [0.0]
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    message: bytes = proto.SerializeToString()
    return message


def _prediction_log(signature: str, **inputs: bytes) -> bytes:
    """Return a serialised ``tensorflow.serving.PredictionLog`` with one Predict request.

    Written by hand, since TensorFlow Serving's own messages are an optional dependency. Field
    numbers: tensorflow_serving/apis/{prediction_log,predict,model}.proto.
    """
    model_spec = _field(3, signature.encode())  # signature_name
    entries = [_field(1, key.encode()) + _field(2, value) for key, value in inputs.items()]
    request = _field(1, model_spec) + b"".join(_field(2, entry) for entry in entries)
    predict_log = _field(1, request)
    return _field(6, predict_log)


def _field(number: int, payload: bytes) -> bytes:
    """Encode a length-delimited protocol buffer field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
