"""Runs the requests that were recorded with a version before it becomes available."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfseg_serving import wire
from tfseg_serving.inference import classify, multi_inference, regress
from tfseg_serving.metrics import Metrics, microseconds_since
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.wire import WireError

if TYPE_CHECKING:
    from tfseg_serving.model import Servable

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000


def warm_up(servable: Servable, folder: Path, iterations: int, metrics: Metrics) -> None:
    """Run the requests of a TFRecord of ``tensorflow.serving.PredictionLog``, if there is one.

    The model that a record names is not looked at, its signature is.

    Args:
        servable: the version.
        folder: the version's folder.
        iterations: how often each request is run.
        metrics: where the time and the number of records are counted.

    Raises:
        StatusError: a record cannot be read or its request fails, or there are too many.
    """
    path = folder / WARMUP_FILE
    if not path.is_file():
        return
    start = time.monotonic()
    count = 0
    for count, record in enumerate(_records(path), 1):
        for _ in range(iterations):
            _replay(servable, record, count, path)
        if count > MAX_WARMUP_RECORDS:
            raise invalid_argument(
                f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {path}"
            )
    metrics.warmup_latency.add(microseconds_since(start), str(folder), "OK")
    metrics.warmup_records.add(count, str(folder), "OK")


def _records(path: Path) -> Any:
    import tensorflow as tf

    with tf.device("CPU"):
        records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    while True:
        try:
            record = next(records, None)
        except tf.errors.OpError as error:
            raise StatusError(
                Code.DATA_LOSS,
                f"{error.message}. Please verify your warmup data is in TFRecord format.",
            ) from error
        if record is None:
            return
        yield record


def _replay(servable: Servable, record: bytes, number: int, path: Path) -> None:
    """Run one record: a predict, classify, regress or multi-inference request."""
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    try:
        request = wire.decode_warmup_request(record)
        if request is not None:
            signature = request.spec.signature if request.spec else ""
            servable.predict(
                signature or wire.DEFAULT_SIGNATURE, request.inputs, request.output_filter
            )
            return
        log = PredictionLog.FromString(record)
    except (WireError, DecodeError) as error:
        raise invalid_argument(
            f"Failed to parse warmup record: {number} from {path}: {error}"
        ) from error
    kind = log.WhichOneof("log_type")
    if kind == "classify_log":
        classify(servable, log.classify_log.request)
    elif kind == "regress_log":
        regress(servable, log.regress_log.request)
    elif kind == "multi_inference_log":
        multi_inference(servable, log.multi_inference_log.request)
    else:
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
