"""The data types of tensors: ``tensorflow.DataType`` and numpy's counterpart of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tfseg_serving.wire.protobuf import WireError


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
