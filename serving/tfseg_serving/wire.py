"""The TF-Serving wire format, without TensorFlow: protobuf messages to and from numpy.

Only the messages of Predict, GetModelMetadata and GetModelStatus are known here, with the field
numbers of ``tensorflow_serving/apis/*.proto`` and ``tensorflow/core/framework/tensor.proto``.
They are written and read by hand because the generated classes import TensorFlow (7 s), because
a second definition of ``tensorflow.TensorProto`` cannot live in one process with the first, and
because tensors then cross without a copy: a decoded array is a view of the message's bytes.

Maps are written in key order, so equal requests are equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

DEFAULT_SIGNATURE = "serving_default"
SIGNATURE_DEF = "signature_def"

Tensors = Mapping[str, NDArray[Any]]
_Chunk = bytes | memoryview

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGNATURE_MAP_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class WireError(ValueError):
    """Bytes are not the message they should be, or a value has no place in a message."""


# --- data types ---------------------------------------------------------------------------


@dataclass(frozen=True)
class DataType:
    """One entry of ``tensorflow.DataType``.

    Attributes:
        number: the enum's value.
        name: the enum's name without ``DT_``, in lower case: ``float``, ``int64``.
        numpy: the element type of arrays; object arrays of bytes for ``string``.
        values: field of TensorProto that holds single values.
        packing: how those are packed: ``raw`` little-endian, ``varint``, or one ``bytes`` each.
    """

    number: int
    name: str
    numpy: np.dtype[Any]
    values: int
    packing: str

    @property
    def enum_name(self) -> str:
        """The enum's name, e.g. ``DT_FLOAT``."""
        return f"DT_{self.name.upper()}"


DATA_TYPES: Mapping[int, DataType] = {
    number: DataType(number, name, np.dtype(kind), values, packing)
    for number, name, kind, values, packing in (
        (1, "float", np.float32, 5, "raw"),
        (2, "double", np.float64, 6, "raw"),
        (3, "int32", np.int32, 7, "varint"),
        (4, "uint8", np.uint8, 7, "varint"),
        (5, "int16", np.int16, 7, "varint"),
        (6, "int8", np.int8, 7, "varint"),
        (7, "string", np.object_, 8, "bytes"),
        (8, "complex64", np.complex64, 9, "raw"),
        (9, "int64", np.int64, 10, "varint"),
        (10, "bool", np.bool_, 11, "varint"),
        (14, "bfloat16", ml_dtypes.bfloat16, 13, "varint"),
        (17, "uint16", np.uint16, 7, "varint"),
        (18, "complex128", np.complex128, 12, "raw"),
        (19, "half", np.float16, 13, "varint"),
        (22, "uint32", np.uint32, 16, "varint"),
        (23, "uint64", np.uint64, 17, "varint"),
    )
}
_BY_NUMPY = {kind.numpy: kind for kind in DATA_TYPES.values()}
_BY_ENUM_NAME = {kind.enum_name: kind for kind in DATA_TYPES.values()}
STRING = DATA_TYPES[7]

# Largest tensor that may be sent as fewer values than it has elements.
_MAX_REPEATED = 1 << 24


def data_type_of(array: NDArray[Any]) -> DataType:
    """Return the data type that an array travels as.

    Raises:
        WireError: numpy's type has no counterpart.
    """
    if array.dtype.kind in "SUO":
        return STRING
    try:
        return _BY_NUMPY[array.dtype.newbyteorder("=")]
    except KeyError:
        raise WireError(f"arrays of dtype {array.dtype} have no TensorFlow data type") from None


def data_type_named(name: str) -> int:
    """Return the number of a data type named as in ``DT_FLOAT``; 0 when it is not supported."""
    kind = _BY_ENUM_NAME.get(name)
    return kind.number if kind else 0


# --- messages -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and which of its signatures: ``tensorflow.serving.ModelSpec``.

    Attributes:
        name: the model.
        version: ``None`` asks for the latest.
        label: a version by its label instead; exclusive with ``version``.
        signature: empty means ``serving_default``.
    """

    name: str = ""
    version: int | None = None
    label: str = ""
    signature: str = ""


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Attributes:
        dtype: number of the data type; see :data:`DATA_TYPES`.
        shape: sizes, -1 where any is allowed; ``None`` when even the rank is free.
        tensor: name of the tensor in the graph.
    """

    dtype: int
    shape: tuple[int, ...] | None
    tensor: str = ""


@dataclass(frozen=True)
class Signature:
    """The named inputs and outputs of one function of a model."""

    inputs: dict[str, TensorInfo] = field(default_factory=dict)
    outputs: dict[str, TensorInfo] = field(default_factory=dict)
    method_name: str = ""


@dataclass(frozen=True)
class Metadata:
    """What a server says about one version of a model."""

    name: str
    version: int
    signatures: dict[str, Signature]


STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
_STATE_NUMBERS = {name: number for number, name in STATES.items()}


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version: a name of :data:`STATES`, and why it failed if it did."""

    version: int
    state: str
    code: int = 0
    message: str = ""


@dataclass(frozen=True)
class PredictRequest:
    """``tensorflow.serving.PredictRequest``; an empty ``output_filter`` asks for all outputs.

    ``inputs`` may hold a :class:`WireError` in place of an array that could not be decoded, so
    that a server can first say what else is wrong and then name the tensor.
    """

    spec: ModelSpec | None
    inputs: dict[str, NDArray[Any] | WireError]
    output_filter: tuple[str, ...] = ()


# --- writing ------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(number: int, parts: Iterable[_Chunk]) -> list[_Chunk]:
    """Return a length-delimited field; the parts themselves are not copied."""
    parts = list(parts)
    size = sum(len(part) for part in parts)
    return [_varint(number << 3 | _BYTES) + _varint(size), *parts]


def _text(number: int, value: str) -> list[_Chunk]:
    return _delimited(number, [value.encode()]) if value else []


def _integer(number: int, value: int) -> list[_Chunk]:
    return [_varint(number << 3 | _VARINT) + _varint(value)] if value else []


def _entry(number: int, key: str, value: Iterable[_Chunk]) -> list[_Chunk]:
    return _delimited(number, [*_delimited(1, [key.encode()]), *_delimited(2, value)])


def _spec(number: int, spec: ModelSpec) -> list[_Chunk]:
    parts = _text(1, spec.name)
    if spec.version is not None:
        parts += _delimited(2, _integer(1, spec.version))
    parts += _text(3, spec.signature)
    if spec.version is None:
        parts += _text(4, spec.label)
    return _delimited(number, parts)


def _pack_varints(values: NDArray[Any]) -> memoryview:
    """Return integers as varints, negative ones sign-extended to 64 bits as protobuf does."""
    if not values.size or (values.min() >= 0 and values.max() < 0x80):
        return values.astype(np.uint8).data
    wide = values if values.dtype == np.uint64 else values.astype(np.int64).view(np.uint64)
    lengths = np.ones(len(wide), np.int64)
    for k in range(1, 10):
        lengths += wide >= np.uint64(1 << 7 * k)
    starts = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    for k in range(int(lengths.max())):
        has = lengths > k
        low = (wide[has] >> np.uint64(7 * k)).astype(np.uint8) & 0x7F
        out[starts[has] + k] = low | np.where(lengths[has] > k + 1, 0x80, 0).astype(np.uint8)
    return out.data


def _raw(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def as_bytes(value: Any) -> bytes:
    """Return an element of a string tensor as bytes.

    Raises:
        WireError: it is neither bytes nor str.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise WireError(f"string tensors hold bytes or str; got {type(value).__name__}")


def tensor_parts(array: NDArray[Any], as_content: bool = True) -> list[_Chunk]:
    """Return ``tensorflow.TensorProto`` of an array, in pieces that alias the array.

    Args:
        array: any shape; strings as bytes, str or object arrays of those.
        as_content: put the elements into ``tensor_content`` as they lie in memory, the quick
            way; otherwise into the typed fields (``float_val``, ...), as TF-Serving answers.

    Raises:
        WireError: the dtype has no counterpart.
    """
    kind = data_type_of(array)
    dims: list[_Chunk] = []
    for size in array.shape:
        dims += _delimited(2, _integer(1, size))
    parts = [*_integer(1, kind.number), *_delimited(2, dims)]
    if kind is STRING:
        for value in array.reshape(-1).tolist():
            parts += _delimited(8, [as_bytes(value)])
        return parts
    if not array.size:
        return parts
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if as_content:
        return [*parts, *_delimited(4, [_raw(little)])]
    if kind.packing == "raw":
        return [*parts, *_delimited(kind.values, [_raw(little)])]
    flat = little.reshape(-1)
    if kind.numpy.itemsize == 2 and kind.values == 13:
        flat = np.ascontiguousarray(flat).view(np.uint16)
    elif kind.numpy == np.bool_:
        flat = flat.astype(np.uint8)
    return [*parts, *_delimited(kind.values, [_pack_varints(flat)])]


def _tensor_map(number: int, tensors: Tensors, as_content: bool) -> list[_Chunk]:
    parts: list[_Chunk] = []
    for name in sorted(tensors):
        parts += _entry(number, name, tensor_parts(tensors[name], as_content))
    return parts


def encode_predict_request(
    spec: ModelSpec, inputs: Tensors, output_filter: Sequence[str] = ()
) -> bytes:
    """Serialise a PredictRequest; each tensor is copied once.

    Raises:
        WireError: an array's dtype has no counterpart.
    """
    parts = [*_spec(1, spec), *_tensor_map(2, inputs, True)]
    for name in output_filter:
        parts += _delimited(3, [name.encode()])
    return b"".join(parts)


def encode_predict_response(spec: ModelSpec, outputs: Tensors, as_content: bool) -> bytes:
    """Serialise a PredictResponse; see :func:`tensor_parts` for ``as_content``."""
    return b"".join([*_tensor_map(1, outputs, as_content), *_spec(2, spec)])


def encode_metadata_request(spec: ModelSpec) -> bytes:
    """Serialise a GetModelMetadataRequest for the signatures."""
    return b"".join([*_spec(1, spec), *_delimited(2, [SIGNATURE_DEF.encode()])])


def encode_metadata_response(spec: ModelSpec, signature_defs: Mapping[str, bytes]) -> bytes:
    """Serialise a GetModelMetadataResponse.

    Args:
        spec: name and version.
        signature_defs: signature name to the serialised ``tensorflow.SignatureDef``.
    """
    signature_map: list[_Chunk] = []
    for name in sorted(signature_defs):
        signature_map += _entry(1, name, [signature_defs[name]])
    any_message = [*_text(1, _SIGNATURE_MAP_URL), *_delimited(2, signature_map)]
    return b"".join([*_spec(1, spec), *_entry(2, SIGNATURE_DEF, any_message)])


def encode_status_request(spec: ModelSpec) -> bytes:
    """Serialise a GetModelStatusRequest."""
    return b"".join(_spec(1, spec))


def encode_status_response(statuses: Iterable[VersionStatus]) -> bytes:
    """Serialise a GetModelStatusResponse."""
    parts: list[_Chunk] = []
    for one in statuses:
        outcome = [*_integer(1, one.code), *_text(2, one.message)]
        state = _integer(2, _STATE_NUMBERS[one.state])
        parts += _delimited(1, [*_integer(1, one.version), *state, *_delimited(3, outcome)])
    return b"".join(parts)


# --- reading ------------------------------------------------------------------------------


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
        shift += 7
    raise WireError("the message is cut off or holds a varint of more than 10 bytes")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value): an int for varints, else the bytes."""
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _read_varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = _read_varint(data, position)
        elif kind in {_FIXED32, _FIXED64}:
            size = 4 if kind == _FIXED32 else 8
        else:
            raise WireError(f"the message has a field of wire type {kind}, which is not in use")
        if size > len(data) - position:
            raise WireError("the message is cut off: a field is longer than what is left")
        yield number, data[position : position + size]
        position += size


def _bytes_fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            yield number, value


def _signed(value: int | memoryview) -> int:
    if isinstance(value, memoryview):
        raise WireError("a number was expected where the message has bytes")
    return value - (1 << 64) if value >> 63 else value


def _view(value: int | memoryview) -> memoryview:
    if not isinstance(value, memoryview):
        raise WireError("bytes were expected where the message has a number")
    return value


def _string(value: int | memoryview) -> str:
    try:
        return str(_view(value), "utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"a text field is not UTF-8: {error.reason}") from error


def _read_entry(data: memoryview) -> tuple[str, memoryview]:
    key, value = "", memoryview(b"")
    for number, content in _bytes_fields(data):
        if number == 1:
            key = _string(content)
        elif number == 2:
            value = content
    return key, value


def _read_int64_value(data: memoryview) -> int:
    return next((_signed(value) for number, value in _fields(data) if number == 1), 0)


def _read_spec(data: memoryview) -> ModelSpec:
    name = label = signature = ""
    version: int | None = None
    for number, value in _fields(data):
        if number == 1:
            name = _string(value)
        elif number == 2:
            version, label = _read_int64_value(_view(value)), ""
        elif number == 3:
            signature = _string(value)
        elif number == 4:
            version, label = None, _string(value)
    return ModelSpec(name, version, label, signature)


def _read_shape(data: memoryview) -> tuple[int, ...] | None:
    sizes: list[int] = []
    for number, value in _fields(data):
        if number == 2:
            sizes.append(_read_int64_value(_view(value)))
        elif number == 3 and value:
            return None
    return tuple(sizes)


def _unpack_varints(data: memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    raw = np.frombuffer(data, np.uint8)
    if not raw.size or raw.max() < 0x80:
        return raw.astype(dtype)
    is_last = raw < 0x80
    if not is_last[-1]:
        raise WireError("packed integers are cut off")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise WireError("a packed integer has more than 10 bytes")
    wide = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max())):
        has = lengths > k
        wide[has] |= (raw[starts[has] + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
    return wide.astype(dtype)


def _read_values(kind: DataType, values: list[int | memoryview]) -> NDArray[Any]:
    """Return the elements of a typed field, which may come packed, single, or both."""
    if kind.packing == "raw":
        size = kind.numpy.itemsize // (2 if kind.numpy.kind == "c" else 1)
        joined = values[0] if len(values) == 1 else b"".join(_view(value) for value in values)
        if isinstance(joined, int) or len(joined) % size or len(joined) % kind.numpy.itemsize:
            raise WireError(f"{kind.enum_name} values do not fill whole elements")
        return np.frombuffer(joined, kind.numpy.newbyteorder("<"))
    narrow = np.dtype(np.uint16) if kind.values == 13 else kind.numpy
    pieces = [
        np.array([value], np.uint64).astype(narrow)
        if isinstance(value, int)
        else _unpack_varints(value, narrow)
        for value in values
    ]
    joined_values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return joined_values.view(kind.numpy) if kind.values == 13 else joined_values


def _fill(values: NDArray[Any], count: int, kind: DataType) -> NDArray[Any]:
    """Return ``count`` elements: the last value is repeated, as TensorProto's comment says."""
    if len(values) == count:
        return values
    if len(values) > count:
        raise WireError(f"{len(values)} values are too many for {count} elements")
    if count > _MAX_REPEATED:
        # A few bytes must not make a server allocate gigabytes.
        raise WireError(f"{count} elements come with only {len(values)} values")
    if kind is STRING:
        filler: Any = values[-1] if len(values) else b""
    else:
        filler = values[-1] if len(values) else kind.numpy.type(0)
    full = np.full(count, filler, kind.numpy)
    full[: len(values)] = values
    return full


def decode_tensor(data: memoryview) -> NDArray[Any]:
    """Read a ``tensorflow.TensorProto``; numbers are a read-only view of ``data`` where possible.

    Raises:
        WireError: a data type that is not supported, a shape that is unknown, negative or too
            large, or contents of another size.
    """
    fields: dict[int, list[int | memoryview]] = {}
    for number, value in _fields(data):
        fields.setdefault(number, []).append(value)
    number = _signed(fields.get(1, [0])[-1])
    kind = DATA_TYPES.get(number)
    if kind is None:
        raise WireError(f"data type {number} is not supported")
    shape = _read_shape(_view(fields[2][-1])) if 2 in fields else ()
    if shape is None or any(size < 0 for size in shape):
        raise WireError(f"the shape must be known and not negative; got {shape}")
    count = 1
    for size in shape:
        count *= size
    content = _view(fields[4][-1]) if 4 in fields else memoryview(b"")
    given = fields.get(kind.values, [])
    if kind is STRING:
        flat = np.empty(len(given), np.object_)
        flat[:] = [bytes(_view(value)) for value in given]
    elif len(content):
        if len(content) != count * kind.numpy.itemsize:
            raise WireError(
                f"tensor_content has {len(content)} bytes; {kind.enum_name} of shape {shape} "
                f"takes {count * kind.numpy.itemsize}"
            )
        flat = np.frombuffer(content, kind.numpy.newbyteorder("<"))
    else:
        flat = _read_values(kind, given) if given else np.empty(0, kind.numpy)
    try:
        return _fill(flat, count, kind).reshape(shape)
    except ValueError as error:  # more axes than numpy has, or an empty shape past its range
        raise WireError(f"the shape {shape} is not supported: {error}") from error


def decode_predict_request(message: bytes | memoryview) -> PredictRequest:
    """Read a PredictRequest.

    Raises:
        WireError: the bytes are no such message. A tensor that cannot be decoded does not raise:
            its error stands in ``inputs``.
    """
    spec: ModelSpec | None = None
    inputs: dict[str, NDArray[Any] | WireError] = {}
    output_filter: list[str] = []
    for number, value in _bytes_fields(memoryview(message)):
        if number == 1:
            spec = _read_spec(value)
        elif number == 2:
            name, content = _read_entry(value)
            try:
                inputs[name] = decode_tensor(content)
            except WireError as error:
                inputs[name] = error
        elif number == 3:
            output_filter.append(_string(value))
    return PredictRequest(spec, inputs, tuple(output_filter))


def decode_predict_response(
    message: bytes | memoryview,
) -> tuple[ModelSpec, dict[str, NDArray[Any]]]:
    """Read a PredictResponse: the version that answered, and the outputs.

    Raises:
        WireError: the bytes are no such message.
    """
    spec = ModelSpec()
    outputs: dict[str, NDArray[Any]] = {}
    for number, value in _bytes_fields(memoryview(message)):
        if number == 1:
            name, content = _read_entry(value)
            outputs[name] = decode_tensor(content)
        elif number == 2:
            spec = _read_spec(value)
    return spec, outputs


def decode_warmup_request(record: bytes) -> PredictRequest | None:
    """Return the request of a ``PredictionLog`` record; ``None`` when it is of another kind.

    Raises:
        WireError: the bytes are no PredictionLog.
    """
    for number, value in _bytes_fields(memoryview(record)):
        if number == 6:
            request = next((part for at, part in _bytes_fields(value) if at == 1), memoryview(b""))
            return decode_predict_request(request)
    return None


def decode_spec_request(message: bytes | memoryview) -> tuple[ModelSpec | None, tuple[str, ...]]:
    """Read a GetModelStatusRequest or GetModelMetadataRequest: the model, the metadata fields.

    Raises:
        WireError: the bytes are no such message.
    """
    spec: ModelSpec | None = None
    fields: list[str] = []
    for number, value in _bytes_fields(memoryview(message)):
        if number == 1:
            spec = _read_spec(value)
        elif number == 2:
            fields.append(_string(value))
    return spec, tuple(fields)


def _read_tensor_info(data: memoryview) -> TensorInfo:
    name, dtype = "", 0
    shape: tuple[int, ...] | None = ()
    for number, value in _fields(data):
        if number == 1:
            name = _string(value)
        elif number == 2:
            dtype = _signed(value)
        elif number == 3:
            shape = _read_shape(_view(value))
    return TensorInfo(dtype, shape, name)


def decode_signature(data: bytes | memoryview) -> Signature:
    """Read a ``tensorflow.SignatureDef``.

    Raises:
        WireError: the bytes are no such message.
    """
    signature = Signature()
    method = ""
    for number, value in _bytes_fields(memoryview(data)):
        if number in {1, 2}:
            name, content = _read_entry(value)
            (signature.inputs if number == 1 else signature.outputs)[name] = _read_tensor_info(
                content
            )
        elif number == 3:
            method = _string(value)
    return Signature(signature.inputs, signature.outputs, method)


def decode_metadata_response(message: bytes | memoryview) -> Metadata:
    """Read a GetModelMetadataResponse.

    Raises:
        WireError: the bytes are no such message.
    """
    spec = ModelSpec()
    signatures: dict[str, Signature] = {}
    for number, value in _bytes_fields(memoryview(message)):
        if number == 1:
            spec = _read_spec(value)
        elif number == 2:
            _, any_message = _read_entry(value)
            packed = next((part for at, part in _bytes_fields(any_message) if at == 2), None)
            for at, entry in _bytes_fields(packed) if packed is not None else ():
                if at == 1:
                    name, content = _read_entry(entry)
                    signatures[name] = decode_signature(content)
    return Metadata(spec.name, spec.version or 0, signatures)


def decode_status_response(message: bytes | memoryview) -> list[VersionStatus]:
    """Read a GetModelStatusResponse, in the server's order: newest first.

    Raises:
        WireError: the bytes are no such message.
    """
    statuses = []
    for _, one in _bytes_fields(memoryview(message)):
        version = state = code = 0
        text = ""
        for number, value in _fields(one):
            if number == 1:
                version = _signed(value)
            elif number == 2:
                state = _signed(value)
            elif number == 3:
                for at, part in _fields(_view(value)):
                    if at == 1:
                        code = _signed(part)
                    elif at == 2:
                        text = _string(part)
        statuses.append(VersionStatus(version, STATES.get(state, "UNKNOWN"), code, text))
    return statuses
