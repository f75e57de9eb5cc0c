"""The wire format against TensorFlow's own messages, byte for byte and both ways."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg_serving import wire
from tfseg_serving.wire import ModelSpec, VersionStatus, WireError

ARRAYS = {
    "float": np.array([[0.1, -2.5, np.inf]], np.float32),
    "double": np.array([1e300, -0.0]),
    "int32": np.array([[-1, 0], [127, 128]], np.int32),
    "uint8": np.array([0, 127, 128, 255], np.uint8),
    "int16": np.array([-1024, 3071], np.int16),
    "int8": np.array([-128, 127], np.int8),
    "int64": np.array([-(2**63), 2**63 - 1, 300]),
    "uint16": np.array([0, 65535], np.uint16),
    "uint32": np.array([2**32 - 1], np.uint32),
    "uint64": np.array([2**64 - 1, 1], np.uint64),
    "bool": np.array([True, False, True]),
    "half": np.array([1.5, -65504], np.float16),
    "bfloat16": np.array([1.5, -3], ml_dtypes.bfloat16),
    "complex64": np.array([1 + 2j, -3j], np.complex64),
    "complex128": np.array([1 + 2j]),
    "string": np.array([b"\x00\xff", b"", "\u00e9".encode()], np.object_),
    "scalar": np.array(3.25, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
}


def _official(array: np.ndarray, as_content: bool):
    """Build the TensorProto by the names of its fields, from TensorFlow's generated class."""
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    kind = wire.data_type_of(array)
    proto = TensorProto(dtype=kind.number)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.reshape(-1)
    if kind.name == "string":
        proto.string_val.extend(flat.tolist())
    elif as_content:
        proto.tensor_content = array.tobytes()
    elif kind.name in {"half", "bfloat16"}:
        proto.half_val.extend(flat.view(np.uint16).tolist())
    elif kind.name.startswith("complex"):
        field = proto.scomplex_val if kind.name == "complex64" else proto.dcomplex_val
        for value in flat.tolist():
            field.extend([value.real, value.imag])
    else:
        field = {
            "float": "float_val",
            "double": "double_val",
            "int64": "int64_val",
            "bool": "bool_val",
            "uint32": "uint32_val",
            "uint64": "uint64_val",
        }.get(kind.name, "int_val")
        getattr(proto, field).extend(flat.tolist())
    return proto


@pytest.mark.parametrize("as_content", [True, False], ids=["content", "typed"])
@pytest.mark.parametrize("name", ARRAYS)
def test_tensor_equals_tensorflows_bytes(name: str, as_content: bool) -> None:
    import tensorflow as tf

    array = ARRAYS[name]
    official = _official(array, as_content)
    ours = b"".join(wire.tensor_parts(array, as_content))
    assert ours == official.SerializeToString(deterministic=True)
    decoded = wire.decode_tensor(memoryview(ours))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)
    if array.size:
        np.testing.assert_array_equal(tf.make_ndarray(official), decoded)


def test_predict_messages_equal_the_official_ones() -> None:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

    volume, spacing = np.ones((2, 3, 4, 1), np.float32), np.array([5, 0.7, 0.7], np.float32)
    spec = ModelSpec("unet", 3, signature="segment")
    ours = wire.encode_predict_request(
        spec, {"volume": volume, "spacing_mm": spacing}, ["labels", "aux"]
    )
    official = PredictRequest(output_filter=["labels", "aux"])
    official.model_spec.name = "unet"
    official.model_spec.version.value = 3
    official.model_spec.signature_name = "segment"
    official.inputs["volume"].CopyFrom(_official(volume, True))
    official.inputs["spacing_mm"].CopyFrom(_official(spacing, True))
    assert ours == official.SerializeToString(deterministic=True)
    back = wire.decode_predict_request(ours)
    assert back.spec == spec
    assert back.output_filter == ("labels", "aux")
    np.testing.assert_array_equal(back.inputs["volume"], volume)

    answer = PredictResponse()
    answer.model_spec.name = "unet"
    answer.model_spec.version.value = 3
    answer.outputs["labels"].CopyFrom(_official(ARRAYS["uint8"], False))
    ours = wire.encode_predict_response(ModelSpec("unet", 3), {"labels": ARRAYS["uint8"]}, False)
    assert ours == answer.SerializeToString(deterministic=True)
    answered, outputs = wire.decode_predict_response(ours)
    assert answered == ModelSpec("unet", 3)
    np.testing.assert_array_equal(outputs["labels"], ARRAYS["uint8"])


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("m"),
        ModelSpec("m", 0),
        ModelSpec("m", 2**62, signature="s"),
        ModelSpec("\u00e9", label="stable"),
    ],
    ids=str,
)
def test_status_and_metadata_requests_equal_the_official_ones(spec: ModelSpec) -> None:
    from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest

    status = GetModelStatusRequest()
    metadata = GetModelMetadataRequest(metadata_field=["signature_def"])
    for message in (status, metadata):
        message.model_spec.name = spec.name
        message.model_spec.signature_name = spec.signature
        if spec.version is not None:
            message.model_spec.version.value = spec.version
        elif spec.label:
            message.model_spec.version_label = spec.label
    ours = wire.encode_status_request(spec), wire.encode_metadata_request(spec)
    assert ours[0] == status.SerializeToString(deterministic=True)
    assert ours[1] == metadata.SerializeToString(deterministic=True)
    assert wire.decode_spec_request(ours[0]) == (spec, ())
    assert wire.decode_spec_request(ours[1]) == (spec, ("signature_def",))


def test_status_response_equals_the_official_one() -> None:
    from tensorflow_serving.apis.get_model_status_pb2 import (
        GetModelStatusResponse,
        ModelVersionStatus,
    )

    statuses = [VersionStatus(2, "AVAILABLE"), VersionStatus(1, "END", 5, "no file")]
    official = GetModelStatusResponse()
    for one in statuses:
        entry = official.model_version_status.add(version=one.version)
        entry.state = ModelVersionStatus.State.Value(one.state)
        entry.status.SetInParent()
        entry.status.error_code = one.code
        entry.status.error_message = one.message
    message = wire.encode_status_response(statuses)
    assert message == official.SerializeToString(deterministic=True)
    assert wire.decode_status_response(message) == statuses


def test_metadata_response_equals_the_official_one() -> None:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataResponse,
        SignatureDefMap,
    )

    definition = SignatureDef(method_name="tensorflow/serving/predict")
    definition.inputs["volume"].name = "v:0"
    definition.inputs["volume"].dtype = 1
    for size in (-1, -1, -1, 1):
        definition.inputs["volume"].tensor_shape.dim.add(size=size)
    definition.outputs["labels"].dtype = 4
    definition.outputs["labels"].tensor_shape.unknown_rank = True
    official = GetModelMetadataResponse()
    official.model_spec.name = "m"
    official.model_spec.version.value = 7
    packed = SignatureDefMap(signature_def={"segment": definition})
    official.metadata["signature_def"].Pack(packed, deterministic=True)
    message = wire.encode_metadata_response(
        ModelSpec("m", 7), {"segment": definition.SerializeToString(deterministic=True)}
    )
    assert message == official.SerializeToString(deterministic=True)
    metadata = wire.decode_metadata_response(message)
    assert (metadata.name, metadata.version) == ("m", 7)
    segment = metadata.signatures["segment"]
    assert segment.inputs["volume"] == wire.TensorInfo(1, (-1, -1, -1, 1), "v:0")
    assert segment.outputs["labels"] == wire.TensorInfo(4, None, "")


def test_decoded_tensor_is_a_view_of_the_message() -> None:
    message = b"".join(wire.tensor_parts(np.arange(1000, dtype=np.float32)))
    decoded = wire.decode_tensor(memoryview(message))
    assert not decoded.flags.owndata
    assert np.shares_memory(decoded, np.frombuffer(message, np.uint8))


def test_last_value_is_repeated_as_make_ndarray_does() -> None:
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    proto = TensorProto(dtype=9, int64_val=[4, 300])
    proto.tensor_shape.dim.add(size=5)
    decoded = wire.decode_tensor(memoryview(proto.SerializeToString()))
    np.testing.assert_array_equal(decoded, tf.make_ndarray(proto))
    assert decoded.tolist() == [4, 300, 300, 300, 300]


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (b"\x08\x01\x12\x02\x12\x00\x22\x03abc", "takes 0"),  # content for an empty shape
        (b"\x08\x00", "data type 0"),
        (b"\x08\x01\x12\x02\x18\x01", "shape must be known"),
        (b"\x08\x01\x12\x0d\x12\x0b\x08" + b"\xff" * 9 + b"\x01", "not negative"),
        (b"\x08\x01\x12\x08\x12\x06\x08\x80\x80\x80\x80\x10", "come with only 0 values"),
        (b"\x08\x01\x2a\x03abc", "whole elements"),
        (b"\x08\x09\x52\x01\x80", "cut off"),
        (b"\x08\x01\x12\x7f", "cut off"),
        (b"\x08", "cut off"),
        (b"\x0b", "wire type 3"),
    ],
)
def test_bad_tensors_are_refused(message: bytes, rule: str) -> None:
    with pytest.raises(WireError, match=rule):
        wire.decode_tensor(memoryview(message))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_decode_or_raise_wire_error(message: bytes) -> None:
    for decode in (
        wire.decode_predict_request,
        wire.decode_predict_response,
        wire.decode_metadata_response,
        wire.decode_status_response,
        wire.decode_spec_request,
        wire.decode_warmup_request,
    ):
        with contextlib.suppress(WireError):  # and nothing else
            decode(message)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_message_with_one_byte_changed_decodes_or_raises_wire_error(data: st.DataObject) -> None:
    message = bytearray(
        wire.encode_predict_request(
            ModelSpec("m", 3), {"a": np.arange(4, dtype=np.float32), "s": ARRAYS["string"]}
        )
    )
    position = data.draw(st.integers(0, len(message) - 1))
    message[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):  # and nothing else
        wire.decode_predict_request(bytes(message))


def test_unsupported_dtype_is_refused() -> None:
    with pytest.raises(WireError, match=r"datetime64.* no TensorFlow data type"):
        wire.tensor_parts(np.zeros(2, "datetime64[s]"))


def test_client_and_query_import_no_tensorflow() -> None:
    code = (
        "import sys, tfseg_serving.client, tfseg_serving.cli, tfseg_serving.wire\n"
        "assert 'tensorflow' not in sys.modules, 'tensorflow'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
