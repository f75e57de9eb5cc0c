"""JSON as RFC 8259 has it, from files that are not trusted: what has no one meaning is refused.

Python's reader takes more: NaN, keys that are there twice (the last one wins), numbers beyond
any float, and nesting until the stack is full.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Any

DEEPEST = 64  # objects and arrays within each other; documents here have ten
_LARGEST = 1 << 64  # of integers
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BAD_ESCAPE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")


class JsonError(ValueError):
    """A text is no JSON, or says something twice; the message is one line."""


def loads(data: bytes | str) -> Any:
    """Parse a document; a mark of UTF-8 before it (BOM) is skipped.

    Raises:
        JsonError: another encoding, a fault of syntax, a key that is there twice in one object,
            NaN or infinity, a number beyond float64 or 64 bits, text that no file can hold, or
            nesting beyond :data:`DEEPEST`.
    """
    text = _decoded(data) if isinstance(data, bytes) else data.removeprefix("\ufeff")
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except JsonError:
        raise
    except json.JSONDecodeError as error:
        raise JsonError(f"line {error.lineno}: {error.msg}") from error
    except RecursionError:
        raise JsonError(f"it is nested more than {DEEPEST} deep") from None
    _check_depth(document)
    if _BAD_ESCAPE.search(text):
        _check_text(document)
    return document


def _decoded(data: bytes) -> str:
    if data.startswith(_UTF_16) or b"\0" in data[:4]:
        raise JsonError("it is written in UTF-16 or UTF-32; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JsonError(f"byte {error.start} is no UTF-8; save it as UTF-8") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonError(f"the key {_shown(twice)} is there twice in one object")
    return result


def _constant(text: str) -> float:
    raise JsonError(f"{text} is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise JsonError(f"the number {_shown(text)} is too large")
    return value


def _int(text: str) -> int:
    if len(text) > 21 or abs(int(text)) >= _LARGEST:  # int() itself takes minutes for millions
        raise JsonError(f"the number {_shown(text)} is too large")
    return int(text)


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(DEEPEST):
        level = [
            child
            for node in level
            for child in (
                node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            )
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise JsonError(f"it is nested more than {DEEPEST} deep")


def _check_text(document: Any) -> None:
    """Refuse NUL and halves of surrogate pairs, which no file name and no UTF-8 can hold."""
    try:
        whole = json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise JsonError("a text has half of a surrogate pair (\\ud800 to \\udfff)") from None
    if b"\\u0000" in whole.replace(b"\\\\", b""):
        raise JsonError("a text has the character \\u0000")


def _shown(text: str) -> str:
    printable = text if text.isprintable() else repr(text)
    return printable if len(printable) <= 40 else f"{printable[:37]}..."
