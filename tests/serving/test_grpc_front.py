"""The gRPC API as the official stubs see it, over real SavedModels."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg_serving.client import connect
from tfseg_serving.config import models_from_folders
from tfseg_serving.server import Server, ServerOptions
from tfseg_serving.versions import Timing

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
FAST = ServerOptions(rest_port=0, grpc_port=0, timing=Timing(0.05, 1, 0.05))


@pytest.fixture(scope="module")
def channel(zoo) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(urlsplit(zoo.grpc_url).netloc, UNLIMITED) as opened:
        yield opened


def _request(name: str = "zoo", signature: str = "", version: int | None = None, **inputs):
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def _predict(channel: grpc.Channel, request):
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    return PredictionServiceStub(channel).Predict(request, timeout=30)


def test_predict(channel) -> None:
    answer = _predict(channel, _request(x=np.float32([[1, 2], [0.5, 0]])))
    assert answer.model_spec.name == "zoo"
    assert answer.model_spec.version.value == 1
    assert answer.model_spec.signature_name == "serving_default"
    # Typed fields, as tensorflow_model_server answers without its tensor-content flag.
    assert list(answer.outputs["y"].float_val) == [8.0, 1.0]
    assert not answer.outputs["y"].tensor_content


def test_predict_binds_by_name_and_filters_outputs(channel) -> None:
    request = _request(signature="two", b=np.float32([0.5]), a=np.int64([3]))
    answer = _predict(channel, request)
    assert list(answer.outputs["first"].int64_val) == [3]
    assert list(answer.outputs["total"].float_val) == [3.5]
    request.output_filter.append("total")
    assert set(_predict(channel, request).outputs) == {"total"}


def test_strings_bools_small_integers_and_halves(channel) -> None:
    text = _predict(channel, _request(signature="text", s=np.array([b"ab\xff"], object)))
    assert list(text.outputs["copy_bytes"].string_val) == [b"ab\xff"]
    flags = _predict(channel, _request(signature="flip", flag=[True, False]))
    assert list(flags.outputs["flag"].bool_val) == [False, True]
    small = _predict(channel, _request(signature="small", i=np.uint8([255, 128, 1])))
    assert list(small.outputs["i"].int_val) == [255, 128, 1]
    half = _predict(channel, _request(signature="sixteen", h=np.float16([1.5])))
    assert np.array(list(half.outputs["h"].half_val), np.uint16).view(np.float16) == [2.5]


def test_tensor_content_on_request(models_root: Path) -> None:
    import tensorflow as tf

    options = ServerOptions(rest_port=0, grpc_port=0, tensor_content=True)
    with (
        Server(models_from_folders([models_root / "zoo"]), options) as server,
        grpc.insecure_channel(urlsplit(server.grpc_url).netloc) as channel,
    ):
        output = _predict(channel, _request(signature="half", x=np.float32([2]))).outputs["y"]
    assert output.tensor_content
    assert tf.make_ndarray(output).tolist() == [3]


CODES = grpc.StatusCode
REFUSED = [
    ({"name": ""}, {}, CODES.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    ({"name": "none"}, {}, CODES.NOT_FOUND, "Servable not found for request: Latest(none)"),
    ({"version": 99}, {}, CODES.NOT_FOUND, "Servable not found for request: Specific(zoo, 99)"),
    (
        {"signature": "nope"},
        {"x": np.float32([1])},
        CODES.FAILED_PRECONDITION,
        'Serving signature key "nope" not found.',
    ),
    (
        {"signature": "two"},
        {"a": np.int64([1])},
        CODES.INVALID_ARGUMENT,
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
        "Missing but required: {b}.",
    ),
    (
        {"signature": "half"},
        {"z": np.float32([1])},
        CODES.INVALID_ARGUMENT,
        "Signature input alias: x(feed name: half_x:0) not found in request",
    ),
    (
        {"signature": "half"},
        {"x": np.int32([1])},
        CODES.INVALID_ARGUMENT,
        "Expects arg[0] to be float but int32 is provided",
    ),
    ({}, {"x": np.float32([[1, 2, 3]])}, CODES.INVALID_ARGUMENT, "Matrix size-incompatible"),
    ({}, {"x": np.float32(1)}, CODES.INVALID_ARGUMENT, ""),  # rank 0 into a matrix product
]


@pytest.mark.parametrize(("spec", "inputs", "code", "text"), REFUSED)
def test_refused(channel, spec: dict, inputs: dict, code: grpc.StatusCode, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _predict(channel, _request(**spec, **inputs))
    assert caught.value.code() is code
    assert caught.value.details().startswith(text)


def test_other_refusals(channel) -> None:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    def refusal(request) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as caught:
            _predict(channel, request)
        return caught.value.code(), caught.value.details()

    assert refusal(PredictRequest()) == (CODES.INVALID_ARGUMENT, "Missing ModelSpec")
    labelled = _request()
    labelled.model_spec.version_label = "stable"
    assert refusal(labelled) == (
        CODES.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    )
    broken = _request(signature="half", x=np.float32([1, 2]))
    broken.inputs["x"].tensor_content = b"123"
    assert refusal(broken)[0] is CODES.INVALID_ARGUMENT
    assert refusal(broken)[1].startswith("tensor parsing error: x")
    twice = _request(signature="half", x=np.float32([1]))
    twice.output_filter.extend(["y", "y"])
    assert refusal(twice) == (CODES.INVALID_ARGUMENT, "duplicate output tensor alias: y")
    unknown = _request(signature="half", x=np.float32([1]))
    unknown.output_filter.append("q")
    assert refusal(unknown)[1] == (
        "output tensor alias not found in signature: q Outputs expected to be in the set {y}."
    )
    long = _request(name="n" * 3000)
    assert len(refusal(long)[1]) == 1024 + len("...TRUNCATED")


def test_garbage_is_invalid_argument(channel) -> None:
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=10)
    assert caught.value.code() is CODES.INVALID_ARGUMENT


def test_status_and_metadata(channel) -> None:
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataRequest,
        SignatureDefMap,
    )
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
    from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    ask = GetModelStatusRequest()
    ask.model_spec.name = "scale"
    status = ModelServiceStub(channel).GetModelStatus(ask, timeout=10).model_version_status
    assert [(one.version, one.state) for one in status] == [(2, 30)]

    wanted = GetModelMetadataRequest(metadata_field=["signature_def"])
    wanted.model_spec.name = "zoo"
    stub = PredictionServiceStub(channel)
    answer = stub.GetModelMetadata(wanted, timeout=10)
    signatures = SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    volume = signatures.signature_def["segment"].inputs["volume"]
    assert [dim.size for dim in volume.tensor_shape.dim] == [-1, -1, -1, 1]
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (1, "")

    for fields, text in ((["x"], "Metadata field x is not supported"), ([], "at least one")):
        wanted.metadata_field[:] = fields
        with pytest.raises(grpc.RpcError, match=text) as caught:
            stub.GetModelMetadata(wanted, timeout=10)
        assert caught.value.code() is CODES.INVALID_ARGUMENT


def test_8_mb_pass_both_ways_with_the_official_stub(channel) -> None:
    import tensorflow as tf

    x = np.arange(2 << 20, dtype=np.float32)  # gRPC's own limit is 4 MiB
    answer = _predict(channel, _request(signature="half", x=x))
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), x * 0.5 + 2)


# --- versions on disk, real SavedModels


def _scaled(server: Server, x: float) -> float:
    with connect(server.grpc_url) as client:
        return float(client.predict("m", {"x": np.float32([x])}, "serving_default")["y"][0])


def _eventually(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _put(source: Path, target: Path) -> None:
    aside = target.parent.parent / "aside"
    shutil.copytree(source, aside)
    aside.rename(target)


def test_real_models_are_swapped_broken_ones_are_not(models_root: Path, tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    _put(models_root / "scale" / "1", base / "1")
    with Server(models_from_folders([base]), FAST) as server:
        assert _scaled(server, 2) == 20
        with connect(server.rest_url) as client:
            (base / "2").mkdir()  # no saved_model.pb
            _put(models_root / "scale" / "2", tmp_path / "cut")
            (tmp_path / "cut" / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
            (tmp_path / "cut").rename(base / "3")  # variables are gone
            _eventually(lambda: client.status("m")[0].state == "END")
            assert _scaled(server, 2) == 20
            _put(models_root / "scale" / "2", base / "4")
            _eventually(lambda: _scaled(server, 2) == 40)
            shutil.rmtree(base / "4")  # 3 and 2 are still broken: 4 stays until one is ready
            shutil.rmtree(base / "3")
            shutil.rmtree(base / "2")
            _eventually(lambda: _scaled(server, 2) == 20)
            assert client.status("m", 4)[0].state in {"UNLOADING", "END"}


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"\x08\x01"])
def test_a_corrupt_model_at_start_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(content)
    with pytest.raises(ConfigError, match=r"model 'm' version 1 cannot be loaded"):
        Server(models_from_folders([tmp_path / "m"]), FAST).start()


def _write_warmup(folder: Path, *records: bytes) -> None:
    import tensorflow as tf

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_warmup_runs_before_the_version_is_available(models_root: Path, tmp_path: Path) -> None:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    good, bad = PredictionLog(), PredictionLog()
    good.predict_log.request.CopyFrom(_request(name="any", x=np.float32([1])))
    bad.predict_log.request.CopyFrom(_request(x=np.int32([1])))
    for name, log in (("good", good), ("bad", bad)):
        shutil.copytree(models_root / "scale" / "1", tmp_path / name / "1")
        _write_warmup(tmp_path / name / "1", log.SerializeToString())
    with Server(models_from_folders([tmp_path / "good"]), FAST) as server:
        assert server.available() == {"good": [1]}
    with pytest.raises(ConfigError, match=r"Expects arg\[0\] to be float but int32 is provided"):
        Server(models_from_folders([tmp_path / "bad"]), FAST).start()


def test_warmup_that_is_no_tfrecord_fails_the_load(models_root: Path, tmp_path: Path) -> None:
    shutil.copytree(models_root / "scale" / "1", tmp_path / "m" / "1")
    path = tmp_path / "m" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    path.write_bytes(b"this is no record file")
    with pytest.raises(ConfigError, match="verify your warmup data is in TFRecord format"):
        Server(models_from_folders([tmp_path / "m"]), FAST).start()
