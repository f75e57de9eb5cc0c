"""Large arrays are read in bulk: the same arrays, and the same words, as the usual way."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tfseg_serving import json_tensor
from tfseg_serving.json_tensor import numbers, requests
from tfseg_serving.status import StatusError
from tfseg_serving.wire import TensorInfo, data_type_named

INFOS = {
    name: {"x": TensorInfo(data_type_named(name), None)}
    for name in (
        "DT_FLOAT",
        "DT_DOUBLE",
        "DT_INT32",
        "DT_INT64",
        "DT_UINT8",
        "DT_BOOL",
        "DT_STRING",
    )
}
TWO = {"a": TensorInfo(1, None), "b": TensorInfo(9, None)}


@pytest.fixture
def small_runs(monkeypatch) -> None:
    """Let short arrays, too, be read in bulk, and in pieces of a few bytes."""
    monkeypatch.setattr(numbers, "MIN_BYTES", 0)
    monkeypatch.setattr(numbers, "_PIECE_BYTES", 5)
    monkeypatch.setattr(requests, "MIN_BYTES", 0)


def _outcome(body: bytes, infos: Mapping[str, TensorInfo]) -> Any:
    try:
        signature, form, arrays = json_tensor.parse_predict_request(body, lambda _: infos)
    except StatusError as error:
        return str(error)
    return signature, form, {k: (v.dtype.str, v.shape, v.tobytes()) for k, v in arrays.items()}


VALUES = [
    "[1, 2, 3]", "[[1.5, -2e3], [3E-2, 0]]", "[[[1],[2]],[[3],[4]]]", "[ 1 ,\n2\t,\r3 ]",
    "[0.1, 0.30000000000000004, 1e400, -1e400, 1e-400]", "[-0.0, 0, -0]", "[1e39]",
    "[9007199254740993, 1]", "[9223372036854775807]", "[18446744073709551616]", "[255, 256]",
    "[-1, 1]", "[2147483648]", "[1.0]", "[]", "[[]]", "[[], []]", "[[1], []]", "[[1, 2], [3]]",
    "[1, [2]]", "[[1], 2]", "[[1, 2], 3, 4]", "[1, [2], [3]]",
    "[01]", "[1.]", "[.5]", "[+1]", "[1 2]", "[1,,2]", "[,1]",
    "[1,]", "[--1]", "[1e]", "[e1]", "[-]", "[1-2]", "[1.2.3]", "[[1] [2]]", "[[1]2]", "[1[2]]",
    "[1]]", "[[1]", "][", "[1, [2, 3]], 4", "[1e5, 1E+5, 1e-5]", "[0, -0.5, 10, 100]",
    "[1e-05]", "[-0]", "[-00.5]", "[1e2e3]", "[1e5.2]", "[00]", "[[-0]]",
    "[NaN, 1]", "[Infinity]", '["a"]', "[true]", "[null]", "[1, true]", "[[1, 2], [3, null]]", "5",
    "-1.5", "[[1][]]", "[[1],[2][]]", "[[1],2[]]", "[1,[]2]", "[[1][,2]]", "[[1,],[2]]",
]  # fmt: skip


@pytest.mark.parametrize("name", INFOS)
@pytest.mark.parametrize("value", VALUES)
def test_as_the_usual_way(small_runs, monkeypatch, value: str, name: str) -> None:
    for text in (
        f'{{"inputs": {value}}}',
        f'{{"instances": {value}}}',
        f'{{"inputs": {{"x": {value}}}, "signature_name": "s"}}',
        f'{{"instances": [{{"x": {value}}}, {{"x": {value}}}]}}',
        f'{{"unused": {value}, "inputs": {value}}} [1, 2',
        f'{{"a": "[1, 2]", "inputs": {value}}}',
    ):
        body = text.encode()
        quick = _outcome(body, INFOS[name])
        with monkeypatch.context() as patch:
            patch.setattr(requests, "cut_out_arrays", lambda body: (body, {}))
            assert quick == _outcome(body, INFOS[name]), text


def test_every_short_text() -> None:
    """Read all texts of up to eight brackets, commas, digits and spaces as Python reads them."""
    texts = ("".join(one) for n in range(9) for one in itertools.product("[],1 ", repeat=n))
    read = 0
    for text in texts:
        if not (text.startswith("[") and text.endswith("]")):
            continue
        array = numbers._read_array(text.encode())
        try:
            value = np.array(json.loads(text), np.float64)
        except ValueError:  # no JSON, or lists of several lengths
            assert array is None, text
            continue
        if value.size:
            assert array is not None, text
            assert array.whole
            np.testing.assert_array_equal(array.values, value, strict=True)
            read += 1
        else:
            assert array is None
    assert read > 200


def test_arrays_beside_other_things(small_runs) -> None:
    body = b'{"inputs": {"a": [[1, 2], [3, 4]], "b": [5, 6]}}'
    _, form, arrays = json_tensor.parse_predict_request(body, lambda _: TWO)
    assert form == json_tensor.COLUMN
    assert arrays["a"].dtype == np.float32
    assert arrays["b"].dtype == np.int64
    np.testing.assert_array_equal(arrays["a"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(arrays["b"], [5, 6])


def test_a_large_array_is_read_in_bulk(monkeypatch) -> None:
    value = np.random.default_rng(3).normal(size=(2, 30, 40, 10, 1)).astype(np.float32)
    body = json.dumps({"inputs": value.tolist()}).encode()
    monkeypatch.setattr(numbers.orjson, "loads", _counted := _Counted(numbers.orjson.loads))
    _, _, arrays = json_tensor.parse_predict_request(body, lambda _: INFOS["DT_FLOAT"])
    np.testing.assert_array_equal(arrays["x"], value)
    assert _counted.calls > 1  # in several pieces


class _Counted:
    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return self.function(*arguments, **options)
