"""JSON values as text, indented as TF-Serving's own messages and answers are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

INDENT = " " * 4
_MAX_QUOTED = 256


def json_text(value: Any) -> str:
    """Return a JSON value as text on one line, with characters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)


def quote(value: Any) -> str:
    """Return a JSON value as text for a message, cut soon after 256 characters."""
    pieces: list[str] = []
    size = 0
    for piece in _pretty(value, 0):
        pieces.append(piece)
        size += len(piece)
        if size >= _MAX_QUOTED:
            break
    return "".join(pieces)[: 4 * _MAX_QUOTED]  # one piece may be a long string


def _pretty(value: Any, level: int) -> Iterator[str]:
    if isinstance(value, list):
        yield "["
        for position, element in enumerate(value):
            yield ", " if position else ""
            yield from _pretty(element, level + 1)
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for position, (key, element) in enumerate(value.items()):
            yield "," if position else ""
            yield f"\n{INDENT * (level + 1)}{json_text(key)}: "
            yield from _pretty(element, level + 1)
        yield f"\n{INDENT * level}}}" if value else "}"
    else:
        yield json_text(value)
