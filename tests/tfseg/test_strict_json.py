"""Documents that have no one meaning are refused; others are what Python's reader makes of them."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfseg.strict_json import DEEPEST, JsonError, loads

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
DOCUMENTS = st.recursive(
    LEAVES, lambda part: st.lists(part) | st.dictionaries(KEYS, part), max_leaves=20
)


@given(document=DOCUMENTS, ascii_only=st.booleans(), mark=st.sampled_from(["", "\ufeff"]))
def test_good_documents_are_read(document, ascii_only, mark):
    text = mark + json.dumps(document, ensure_ascii=ascii_only)
    assert loads(text) == document
    assert loads(text.encode()) == document


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key c is there twice"),
        ('{"a": 1, "\\u0061": 2}', "the key a is there twice"),
        ("[NaN]", "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("[1e999]", "the number 1e999 is too large"),
        ("[-1.5E+400]", "is too large"),
        ("[18446744073709551616]", "is too large"),
        (f"[{'9' * 1_000_000}]", "the number 9+... is too large"),
        ("[" * 100_000, "nested more than 64 deep"),
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested more than 64 deep"),
        ('["\\ud800"]', "half of a surrogate pair"),
        ('{"\\udfff": 1}', "half of a surrogate pair"),
        ('["a\\u0000b"]', "has the character"),
        ('{"a": 1,}', "line 1: "),
        ("", "line 1: Expecting value"),
        ("\n\n[1 2]", "line 3: "),
        ("{} {}", "Extra data"),
        ('["a\nb"]', "Invalid control character"),
        ("\u00a0[]", "Expecting value"),
    ],
)
def test_bad_documents_are_refused_in_one_line(text, rule):
    for form in (text, text.encode()):
        with pytest.raises(JsonError, match=rule) as caught:
            loads(form)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 120


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_other_encodings_are_named(encoding):
    with pytest.raises(JsonError, match="save it as UTF-8"):
        loads('{"name": "Prüfung"}'.encode(encoding))


def test_depth_does_not_hang_on_the_stack():
    assert loads("[" * DEEPEST + "]" * DEEPEST)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        with pytest.raises(JsonError, match="nested more than"):
            loads("[" * 2000 + "]" * 2000)
    finally:
        sys.setrecursionlimit(before)


def test_pairs_and_escaped_escapes_are_good():
    assert loads('["\\ud83d\\ude00", "\\\\u0000"]') == ["\U0001f600", "\\u0000"]
