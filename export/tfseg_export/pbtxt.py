"""Protobuf's text form, read without knowing the message.

protobuf's own parser needs the message's definition, or skips what it does not know, but not a list
of messages, which every ``config.pbtxt`` of Triton has. Here a message is a dict from field to
the list of its values: a nested message is such a dict, anything else its text.

Grammar: https://protobuf.dev/reference/protobuf/textformat-spec/, without extensions.
"""

from __future__ import annotations

import ast
import re
from typing import Any

Message = dict[str, list[Any]]

_TOKEN = re.compile(
    r"(?P<gap>\s+|\#[^\n]*)"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<word>[\w.+-]+)"
    r"|(?P<mark>[{}<>\[\]:,;])"
)
_CLOSING = {"{": "}", "<": ">"}
_MAX_DEPTH = 50


def parse_pbtxt(text: str) -> Message:
    """Return the message that ``text`` holds.

    Raises:
        ValueError: it is no text of that form, with the line.
    """
    return _Parser(text).message("", 0)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []  # kind, token, line
        at, line = 0, 1
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"line {line}: {text[at : at + 20]!r} is no token")
            if found.lastgroup != "gap":
                self._tokens.append((str(found.lastgroup), found[0], line))
            line += found[0].count("\n")
            at = found.end()
        self._tokens.append(("end", "", line))
        self._at = 0

    def message(self, closing: str, depth: int) -> Message:
        """Read fields up to ``closing`` (empty: the end of the text)."""
        if depth > _MAX_DEPTH:
            raise self._unexpected(f"at most {_MAX_DEPTH} levels")
        fields: Message = {}
        while self._token != closing:
            if self._kind != "word":
                raise self._unexpected("a field's name")
            values = fields.setdefault(self._take(), [])
            colon = self._skip(":")
            if self._skip("["):
                while not self._skip("]"):
                    values.append(self._value(depth))
                    if not self._skip(",") and self._token != "]":
                        raise self._unexpected("',' or ']'")
            elif colon or self._token in _CLOSING:
                values.append(self._value(depth))
            else:
                raise self._unexpected("':' or '{'")
            if not self._skip(","):
                self._skip(";")
        self._at += 1
        return fields

    def _value(self, depth: int) -> Any:
        if self._kind == "mark" and self._token in _CLOSING:
            return self.message(_CLOSING[self._take()], depth + 1)
        if self._kind == "word":
            return self._take()
        if self._kind != "text":
            raise self._unexpected("a value")
        parts = []
        while self._kind == "text":  # strings side by side are one
            parts.append(str(ast.literal_eval(self._take())))
        return "".join(parts)

    @property
    def _kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def _token(self) -> str:
        return self._tokens[self._at][1]

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _skip(self, mark: str) -> bool:
        found = self._kind == "mark" and self._token == mark
        self._at += found
        return found

    def _unexpected(self, wanted: str) -> ValueError:
        token, line = self._tokens[self._at][1:]
        return ValueError(f"line {line}: expected {wanted}; got {token or 'the end'!r}")
