"""Deeply nested JSON: the values and the errors of Python's own parser, at any depth."""

from __future__ import annotations

import json

import pytest

from tfseg_serving.json_tensor import deep
from tfseg_serving.json_tensor.deep import parse_deep

GOOD = [
    "1", "-1.5e3", '"a\\"[{"', "true", "null", "NaN", "[]", "{}", "[1, 2 ,3]", "[[], {}, [[]]]",
    '{"a": 1, "b": [true, {"c": null}], "": {}}', ' [ 1 , { "a" : [ ] } ] ', '{"a": 1, "a": 2}',
    "[1] behind", "[[[[[[1]]]]], 2]",
]  # fmt: skip
BAD = [
    "", "[", "[1", "[1,", "[1,]", "[,]", "[1 2]", "{", '{"a"', '{"a":', '{"a": 1', '{"a": 1,',
    '{"a": 1,}', "{1: 2}", '{"a" 1}', "]", "}", "[1}", '{"a": 1]', "nope", '"a', '["a]', "[01]",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_values(text: str) -> None:
    start = len(text) - len(text.lstrip())
    expected, _ = json.JSONDecoder().raw_decode(text, start)
    assert repr(parse_deep(text, start)) == repr(expected)


@pytest.mark.parametrize("text", BAD)
def test_errors(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.JSONDecoder().raw_decode(text, 0)
    with pytest.raises(json.JSONDecodeError):
        parse_deep(text, 0)


@pytest.mark.parametrize("depth", [1, 1000, 20_000])
def test_depth(depth: int) -> None:
    value = parse_deep("[" * depth + '{"a": 1}' + "]" * depth, 0)
    levels = 0
    while isinstance(value, list):
        (value,), levels = value, levels + 1
    assert (value, levels) == ({"a": 1}, depth)


def test_there_is_a_bound(monkeypatch) -> None:
    monkeypatch.setattr(deep, "_MAX_DEPTH", 5000)
    parse_deep("[" * 4999 + "1" + "]" * 4999, 0)
    with pytest.raises(json.JSONDecodeError, match="Too many levels"):
        parse_deep("[" * 5002, 0)
