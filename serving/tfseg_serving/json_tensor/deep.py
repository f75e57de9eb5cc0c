"""JSON of any depth: Python's own parser gives up at a thousand levels, RapidJSON's never does."""

from __future__ import annotations

import json
import re
from typing import Any

_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in the stubs
_MAX_DEPTH = 1_000_000  # a level takes a hundred bytes of memory for one of text
_SPACE = re.compile(r"[ \t\n\r]*")


def parse_deep(text: str, start: int) -> Any:
    """Return the JSON value that begins at ``start``, with a stack of its own.

    Raises:
        json.JSONDecodeError: it is no JSON.
    """
    stack: list[tuple[Any, str]] = []  # containers that are open, with the key that comes next
    position = start
    while True:
        value, position, opened = _next_value(text, position)
        if opened:
            key = ""
            if isinstance(value, dict):
                key, position = _key(text, position)
            stack.append((value, key))
            if len(stack) > _MAX_DEPTH:
                raise json.JSONDecodeError("Too many levels", text, position)
            continue
        # A value is complete: put it where it belongs, and close what it completes.
        while True:
            if not stack:
                return value
            container, key = stack.pop()
            if isinstance(container, list):
                container.append(value)
            else:
                container[key] = value
            position = _space(text, position)
            mark = text[position : position + 1]
            if mark == ",":
                position = _space(text, position + 1)
                if isinstance(container, dict):
                    key, position = _key(text, position)
                stack.append((container, key))
                break
            if mark != ("]" if isinstance(container, list) else "}"):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
            value, position = container, position + 1


def _next_value(text: str, position: int) -> tuple[Any, int, bool]:
    """Return a value and its end, or an empty container that has members, and where they begin."""
    position = _space(text, position)
    mark = text[position : position + 1]
    if mark in {"[", "{"} and mark:
        inside = _space(text, position + 1)
        container: Any = [] if mark == "[" else {}
        if text[inside : inside + 1] == ("]" if mark == "[" else "}"):
            return container, inside + 1, False
        return container, inside, True
    try:
        value, end = _SCAN(text, position)
    except StopIteration as error:
        raise json.JSONDecodeError("Expecting value", text, error.value) from error
    return value, end, False


def _key(text: str, position: int) -> tuple[str, int]:
    """Return a member's key, and where its value begins."""
    if text[position : position + 1] != '"':
        raise json.JSONDecodeError(
            "Expecting property name enclosed in double quotes", text, position
        )
    key, end = _SCAN(text, position)
    end = _space(text, end)
    if text[end : end + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, end)
    return key, end + 1


def _space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches ""
