"""The TF-Serving wire format, without TensorFlow: protobuf messages to and from numpy.

Only the messages of Predict, GetModelMetadata and GetModelStatus are known here, one module a
call, with the field numbers of ``tensorflow_serving/apis/*.proto`` and
``tensorflow/core/framework/tensor.proto``. They are written and read by hand because the
generated classes import TensorFlow (7 s), because a second definition of
``tensorflow.TensorProto`` cannot live in one process with the first, and because tensors then
cross without a copy: a decoded array is a view of the message's bytes.

Maps are written in key order, so equal requests are equal bytes.

KServe's protocol has a module of its own, :mod:`tfseg_serving.wire.kserve`, since its messages
share no names with these.
"""

from tfseg_serving.wire.data_types import (
    DATA_TYPES,
    STRING,
    DataType,
    data_type_named,
    data_type_of,
)
from tfseg_serving.wire.metadata import (
    GET_MODEL_METADATA,
    SIGNATURE_DEF,
    Metadata,
    Signature,
    TensorInfo,
    decode_metadata_response,
    decode_signature,
    encode_metadata_request,
    encode_metadata_response,
)
from tfseg_serving.wire.model_spec import DEFAULT_SIGNATURE, ModelSpec, decode_spec_request
from tfseg_serving.wire.model_status import (
    GET_MODEL_STATUS,
    STATES,
    VersionStatus,
    decode_status_response,
    encode_status_request,
    encode_status_response,
)
from tfseg_serving.wire.predict import (
    PREDICT,
    PredictRequest,
    Tensors,
    decode_predict_request,
    decode_predict_response,
    decode_warmup_request,
    encode_predict_request,
    encode_predict_response,
)
from tfseg_serving.wire.protobuf import WireError
from tfseg_serving.wire.tensor import as_bytes, decode_tensor, tensor_parts

__all__ = [
    "DATA_TYPES",
    "DEFAULT_SIGNATURE",
    "GET_MODEL_METADATA",
    "GET_MODEL_STATUS",
    "PREDICT",
    "SIGNATURE_DEF",
    "STATES",
    "STRING",
    "DataType",
    "Metadata",
    "ModelSpec",
    "PredictRequest",
    "Signature",
    "TensorInfo",
    "Tensors",
    "VersionStatus",
    "WireError",
    "as_bytes",
    "data_type_named",
    "data_type_of",
    "decode_metadata_response",
    "decode_predict_request",
    "decode_predict_response",
    "decode_signature",
    "decode_spec_request",
    "decode_status_response",
    "decode_tensor",
    "decode_warmup_request",
    "encode_metadata_request",
    "encode_metadata_response",
    "encode_predict_request",
    "encode_predict_response",
    "encode_status_request",
    "encode_status_response",
    "tensor_parts",
]
