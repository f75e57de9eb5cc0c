"""The body of a request to a JSON object; a syntax error is told in the words of RapidJSON."""

from __future__ import annotations

import json
import re
from typing import Any

from tfseg_serving.json_tensor.deep import parse_deep
from tfseg_serving.json_tensor.text import quote
from tfseg_serving.status import invalid_argument

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the object that the body begins with; what stands behind it is not looked at.

    Raises:
        StatusError: the body is no JSON, or JSON of another kind.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # the pattern matches ""
    if start == len(text):
        raise invalid_argument(f"JSON Parse error: The document is empty. at offset: {start}")
    try:
        document = _decode(text, start)
    except json.JSONDecodeError as error:
        reason, position = _parse_reason(error, text)
        offset = len(text[:position].encode("utf-8", "surrogateescape"))
        raise invalid_argument(f"JSON Parse error: {reason} at offset: {offset}") from error
    except ValueError as error:  # an integer of thousands of digits
        raise invalid_argument(
            "JSON Parse error: Number too big to be stored in double."
        ) from error
    _check_surrogates(text, start)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {quote(document)} Is not object")
    return document


def _check_surrogates(text: str, start: int) -> None:
    """Refuse strings with half a surrogate pair, which Python reads and UTF-8 cannot write."""
    if not _SURROGATE.search(text, start):
        return
    for match in _STRING.finditer(text, start):
        string = match.group()
        try:
            if _SURROGATE.search(string):
                # Raw bytes that are no UTF-8 stand as surrogates, too; those pass.
                plain = string.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                json.loads(plain, strict=False).encode()
        except (UnicodeEncodeError, json.JSONDecodeError) as error:
            offset = len(text[: match.start()].encode("utf-8", "surrogateescape"))
            raise invalid_argument(
                f"JSON Parse error: The surrogate pair in string is invalid. at offset: {offset}"
            ) from error


def _decode(text: str, start: int) -> Any:
    try:
        return _DECODER.raw_decode(text, start)[0]
    except RecursionError:
        return parse_deep(text, start)


def signature_of(document: dict[str, Any]) -> str:
    """Return the signature that a request names; empty when it names none.

    Raises:
        StatusError: it is named by something else than text.
    """
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid_argument(
            f"JSON Value: {quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return signature


def _parse_reason(error: json.JSONDecodeError, text: str) -> tuple[str, int]:
    """Return RapidJSON's words for a syntax error, and where in the text it sees it."""
    if error.msg.startswith("Unterminated string"):
        return "Missing a closing quotation mark in string.", len(text)
    if "escape" in error.msg:
        return "Invalid escape character in string.", error.pos
    if "control character" in error.msg:
        return "Invalid encoding in string.", error.pos
    if error.msg.startswith("Expecting ':'"):
        return "Missing a colon after a name of object member.", error.pos
    if error.msg.startswith("Expecting ','"):
        inside_object = _inside_object(text, error.pos)
        end = "} after an object member" if inside_object else "] after an array element"
        return f"Missing a comma or {end}.", error.pos
    if error.msg.startswith("Expecting property name"):
        return "Missing a name for object member.", error.pos
    return "Invalid value.", error.pos


def _inside_object(text: str, position: int) -> bool:
    """Tell whether the innermost bracket open at ``position`` is a brace."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text[:position], flags=re.DOTALL)
    stack: list[str] = []
    for bracket in re.findall(r"[\[\]{}]", outside):
        if bracket in "[{":
            stack.append(bracket)
        elif stack:
            stack.pop()
    return bool(stack) and stack[-1] == "{"
