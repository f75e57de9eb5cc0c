"""gRPC Predict: binding by name, what is refused and how, and the health service."""

from __future__ import annotations

import time

import grpc
import numpy as np
import pytest

HALF = np.float32([2])


def test_the_answer_names_what_gave_it(server, request_for) -> None:
    answer = server.call(request_for(x=np.float32([[1, 2]])))
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("zoo", 1, "serving_default")
    assert not spec.version_label
    assert list(answer.outputs["y"].float_val) == [8.0]
    assert not answer.outputs["y"].tensor_content


def test_a_label_chooses_the_version_and_is_not_repeated(server, request_for, refusal) -> None:
    request = request_for(model="scale", x=HALF)
    request.model_spec.version_label = "stable"
    answer = server.call(request)
    assert answer.model_spec.version.value == 1
    assert not answer.model_spec.version_label
    request.model_spec.version_label = "none"
    assert refusal(server.call, request) == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: none",
    )


def test_inputs_and_outputs_bind_by_name(server, request_for) -> None:
    for inputs in (
        {"b": np.float32([0.5]), "a": np.int64([3])},
        {"a": np.int64([3]), "b": np.float32([0.5])},
    ):
        outputs = server.call(request_for("two", **inputs)).outputs
        assert list(outputs["first"].int64_val) == [3]
        assert list(outputs["total"].float_val) == [3.5]


def test_output_filter(server, request_for, refusal) -> None:
    request = request_for("two", b=np.float32([0.5]), a=np.int64([3]))
    request.output_filter.append("total")
    assert list(server.call(request).outputs) == ["total"]
    request.output_filter.append("total")
    assert refusal(server.call, request) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: total",
    )
    request.output_filter[:] = ["q"]
    assert refusal(server.call, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: q Outputs expected to be in the set "
        "{first,total}.",
    )


def test_signature_defaults_fill_missing_inputs(server, request_for, refusal) -> None:
    outputs = server.call(request_for("defaults", a=np.int64([3]))).outputs
    assert list(outputs["total"].float_val) == [3.5]
    both = request_for("defaults", a=np.int64([3]), b=np.float32([7]))
    assert list(server.call(both).outputs["total"].float_val) == [10.0]
    code, text = refusal(server.call, request_for("defaults", b=np.float32([7])))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Signature input alias: a(feed name: ")


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "int64", "int32", "int16", "int8", "uint8", "uint32", "uint64",
     "bool", "float16", "complex64"],
)  # fmt: skip
def test_every_type_and_any_rank_come_back(server, request_for, dtype: str) -> None:
    import tensorflow as tf

    for shape in ((), (3,), (2, 0), (2, 1, 2)):
        value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        answer = server.call(request_for(f"echo_{dtype}", v=value)).outputs["v"]
        back = tf.make_ndarray(answer)
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)


def test_strings_are_bytes(server, request_for) -> None:
    value = np.array([b"ab\xff\x00", b""], object)
    outputs = server.call(request_for("text", s=value)).outputs
    assert list(outputs["copy_bytes"].string_val) == [b"ab\xff\x00", b""]


REFUSED = [
    ({"model": ""}, {}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ({"model": "none"}, {}, "NOT_FOUND", "Servable not found for request: Latest(none)"),
    ({"version": 99}, {}, "NOT_FOUND", "Servable not found for request: Specific(zoo, 99)"),
    (
        {"signature": "nope"},
        {"x": HALF},
        "FAILED_PRECONDITION",
        'Serving signature key "nope" not found.',
    ),
    (
        {"signature": "two"},
        {"a": np.int64([1])},
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
        "Missing but required: {b}.",
    ),
    (
        {"signature": "half"},
        {"x": HALF, "z": HALF},
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
        "Missing but required: {}.",
    ),
    (
        {"signature": "half"},
        {"z": HALF},
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: half_x:0) not found in request and no default value "
        "provided",
    ),
    (
        {"signature": "half"},
        {"x": np.int32([1])},
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but int32 is provided",
    ),
    ({}, {"x": np.float32([[1, 2, 3]])}, "INVALID_ARGUMENT", "Matrix size-incompatible"),
    ({}, {"x": np.float32(1)}, "INVALID_ARGUMENT", ""),
]


@pytest.mark.parametrize(("spec", "inputs", "code", "text"), REFUSED)
def test_refusals(server, request_for, refusal, spec, inputs, code: str, text: str) -> None:
    got, message = refusal(server.call, request_for(**spec, **inputs))
    assert got == code
    assert message.startswith(text)


def test_a_missing_model_spec(server, refusal) -> None:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    assert refusal(server.call, PredictRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")


def _broken_tensors(tensor):
    tensor.tensor_content = b"123"
    yield "content of another length"
    tensor.Clear()
    yield "DT_INVALID"
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=-5)
    yield "negative size"
    tensor.tensor_shape.dim[0].size = 2**62
    tensor.tensor_shape.dim.add(size=2**62)
    yield "overflowing shape"
    tensor.tensor_shape.unknown_rank = True
    yield "unknown rank"


def test_tensors_that_cannot_be_read(server, request_for, refusal) -> None:
    request = request_for("half", x=HALF)
    for what in _broken_tensors(request.inputs["x"]):
        code, text = refusal(server.call, request)
        assert code == "INVALID_ARGUMENT", what
        assert text.startswith("tensor parsing error: x"), what


def test_long_messages_are_cut(server, request_for, refusal) -> None:
    code, text = refusal(server.call, request_for(model="n" * 3000))
    assert code == "NOT_FOUND"
    assert len(text) == 1024 + len("...TRUNCATED")
    assert text.endswith("...TRUNCATED")


def test_garbage(server, refusal) -> None:
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert refusal(call, b"\xff\xff\xff")[0] in {"INVALID_ARGUMENT", "INTERNAL"}


def test_session_service_and_reflection_are_not_there(server, refusal) -> None:
    for path in (
        "/tensorflow.serving.SessionService/SessionRun",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/tensorflow.serving.PredictionService/Nothing",
    ):
        assert refusal(server.channel.unary_unary(path), b"")[0] == "UNIMPLEMENTED"


def test_a_client_deadline_ends_the_run(server, request_for) -> None:
    request = request_for(model="slow", steps=np.float32([1e15]))
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(request, timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # The run has ended, too: its turn is free again.
    assert server.call(request_for(model="slow", steps=np.float32([3]))).outputs


def test_questions_are_answered_at_once_while_a_model_runs(server, request_for) -> None:
    running = server.prediction.Predict.future(
        request_for(model="slow", steps=np.float32([1e15])), timeout=2
    )
    times = []
    for _ in range(8):
        start = time.perf_counter()
        assert server.get("/v1/models/zoo").status == 200
        times.append(time.perf_counter() - start)
    assert not running.done()
    assert min(times) < 0.05
    assert running.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_messages_past_grpcs_own_4_mib(server, request_for) -> None:
    import tensorflow as tf

    value = np.arange(2 << 20, dtype=np.float32)
    answer = server.call(request_for("echo_float32", v=value))
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["v"]), value)


def test_compressed_requests(server, request_for) -> None:
    request = request_for("half", x=np.zeros(10_000, np.float32))
    answer = server.prediction.Predict(request, timeout=30, compression=grpc.Compression.Gzip)
    assert set(answer.outputs["y"].float_val) == {2.0}


# --- flags


def test_tensor_content_by_flag(launch, scale_base, request_for) -> None:
    import tensorflow as tf

    flag = "--enable_serialization_as_tensor_content=true"
    target = launch(f"--model_base_path={scale_base(1)}", "--model_name=m", flag)
    output = target.call(request_for(model="m", x=HALF)).outputs["y"]
    assert output.tensor_content == np.float32([20]).tobytes()
    assert tf.make_ndarray(output).tolist() == [20]


def test_channel_arguments_by_flag(launch, scale_base, request_for, refusal) -> None:
    flag = "--grpc_channel_arguments=grpc.max_receive_message_length=1000"
    target = launch(f"--model_base_path={scale_base(1)}", "--model_name=m", flag)
    big = request_for(model="m", x=np.zeros(1000, np.float32))
    code, text = refusal(target.call, big)
    assert code == "RESOURCE_EXHAUSTED"
    assert "Received message larger than max" in text
    assert refusal(target.channel.unary_unary("/grpc.health.v1.Health/Check"), b"")[0] == (
        "UNIMPLEMENTED"  # without its flag
    )


def test_a_unix_socket_by_flag(launch, scale_base, request_for, tmp_path) -> None:
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    path = tmp_path / "s"
    launch(f"--model_base_path={scale_base(1)}", "--model_name=m", f"--grpc_socket_path={path}")
    with grpc.insecure_channel(f"unix:{path}") as channel:
        answer = PredictionServiceStub(channel).Predict(request_for(model="m", x=HALF), timeout=30)
    assert list(answer.outputs["y"].float_val) == [20]


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(server, service: str) -> None:
    # HealthCheckRequest and its answer: one field each, a string and an enum (1 is SERVING).
    message = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
    check = server.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(message, timeout=10) == b"\x08\x01"
    watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch")(message, timeout=10)
    assert next(watch) == b"\x08\x01"
    watch.cancel()


def test_health_of_an_unknown_service(server, refusal) -> None:
    check = server.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert refusal(check, b"\x0a\x01x")[0] == "NOT_FOUND"
