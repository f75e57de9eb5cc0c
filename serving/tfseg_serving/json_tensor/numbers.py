"""Large arrays of numbers, read straight from the text of a body.

The usual way makes a Python object of every number and a list of every row, in one call that
lets no other thread run: tenths of a second for a patch, seconds for a volume. Here the long runs
of digits, commas and brackets are cut out of the text first and read by numpy in small pieces,
and the rest of the body, which is short then, is parsed as usual with a name in each one's place.

Nothing is refused here: what is not plainly a regular array of numbers is left to the usual way,
which finds the words for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

MIN_BYTES = 1 << 16
_PIECE_BYTES = 1 << 18
_RUN = re.compile(rb"[0-9eE.+\-,\[\] \t\r\n]+")
_SPACES = b" \t\r\n"
_IN_NUMBERS = b"0123456789eE.+-"
_BLANK_BRACKETS = bytes.maketrans(b"[]", b"  ")
_OPEN, _CLOSE, _COMMA = b"[],"
_DEEPEST = 32


@dataclass(frozen=True)
class NumberArray:
    """A JSON array of numbers.

    Attributes:
        values: float64, in the shape of the nesting.
        whole: whether every number is written as an integer.
    """

    values: NDArray[np.float64]
    whole: bool


def cut_out_arrays(body: bytes) -> tuple[bytes, dict[str, NumberArray]]:
    """Replace the long arrays of numbers of a JSON text by strings.

    Returns:
        The text with strings in their places, and the arrays by those strings. An array that is
        not plainly regular stays in the text.
    """
    arrays: dict[str, NumberArray] = {}
    parts: list[bytes] = []
    end = 0
    for start, stop in _runs(body):
        if stop - start < MIN_BYTES:
            continue
        first, behind = body.find(b"[", start, stop), body.rfind(b"]", start, stop) + 1
        array = _read_array(body[first:behind]) if 0 <= first < behind else None
        if array is not None:
            name = f"\x7farray {len(arrays)} of {len(body)}\x7f"
            arrays[name] = array
            parts += [body[end:first], b'"' + name.encode() + b'"']
            end = behind
    return b"".join([*parts, body[end:]]), arrays


def resolve(value: Any, arrays: Mapping[str, NumberArray]) -> Any:
    """Return a JSON value with the strings of :func:`cut_out_arrays` replaced by the arrays."""
    if isinstance(value, str):
        return arrays.get(value, value)
    if isinstance(value, dict):
        return {key: resolve(one, arrays) for key, one in value.items()}
    if isinstance(value, list):
        return [resolve(one, arrays) for one in value]
    return value


def stacked(items: list[Any]) -> NumberArray | None:
    """Return rows that are all arrays of one shape as one array; ``None`` when they are not."""
    if not items or not all(isinstance(one, NumberArray) for one in items):
        return None
    if len({one.values.shape for one in items}) > 1:
        return None
    return NumberArray(np.stack([one.values for one in items]), all(one.whole for one in items))


def _pieces(text: bytes) -> Iterator[int]:
    """Yield where the pieces of a long text begin: each is short, so others get their turns."""
    return iter(range(0, len(text), _PIECE_BYTES))


def _runs(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the runs of characters lie that numbers, lists and space are written with."""
    start = stop = 0
    for piece in _pieces(body):
        for run in _RUN.finditer(body, piece, piece + _PIECE_BYTES):
            if run.start() > stop:
                yield start, stop
                start = run.start()
            stop = run.end()
    yield start, stop


def _read_array(text: bytes) -> NumberArray | None:
    """Return the array that ``text``, a run of number characters, stands for."""
    marks = _marks(text)
    shape = None if marks is None else _shape(marks)
    if shape is None:
        return None
    pieces: list[NDArray[np.float64]] = []
    start = 0
    while start < len(text):
        end = text.find(b",", start + _PIECE_BYTES) + 1 or len(text)
        piece = _read_piece(text[start:end])
        if piece is None:
            return None
        pieces.append(piece)
        start = end
    values = np.concatenate(pieces)
    if len(values) != np.prod(shape):
        return None
    whole = not any(mark in text for mark in (b".", b"e", b"E"))
    if whole and np.abs(values).max() >= 2**53:
        return None  # past float64's whole numbers
    return NumberArray(values.reshape(shape), whole)


def _read_piece(text: bytes) -> NDArray[np.float64] | None:
    """Return the numbers of a piece of text; it ends in a comma if another follows it.

    Without its brackets it is a flat list, in which a number that is none, a space within one,
    two numbers in one place or none at all are found by the parser.
    """
    plain = text.rstrip(_SPACES).removesuffix(b",").translate(_BLANK_BRACKETS)
    try:
        return np.array(orjson.loads(b"[" + plain + b"]"), np.float64)
    except (ValueError, OverflowError):
        return None


def _marks(text: bytes) -> bytes | None:
    """Return the brackets and commas alone.

    Returns:
        ``None`` where a number stands between two brackets, as in ``[1[2]]`` and ``[[1]2]``.
    """
    marks: list[bytes] = []
    before = b"["
    for start in _pieces(text):
        packed = text[start : start + _PIECE_BYTES].translate(None, _SPACES)
        characters = np.frombuffer(before + packed, np.uint8)
        here, behind = characters[:-1], characters[1:]
        opened = (here == _OPEN) | (here == _COMMA) | (behind != _OPEN)
        closed = (behind == _CLOSE) | (behind == _COMMA) | (here != _CLOSE)
        if not (opened.all() and closed.all()):
            return None
        marks.append(packed.translate(None, _IN_NUMBERS))
        before = packed[-1:] or before
    return b"".join(marks)


def _shape(marks: bytes) -> tuple[int, ...] | None:
    """Return the shape of nested lists, by their brackets and commas.

    Returns:
        ``None`` where lists of one level differ in length, or brackets do not match.
    """
    deepest = len(marks) - len(marks.lstrip(b"["))
    if not 0 < deepest <= _DEEPEST:
        return None
    # The first list of each level tells its size, and what the whole would have to be.
    commas = marks.find(b"]") - deepest
    expected = b"[" + b"," * commas + b"]"
    shape = [commas + 1]
    for start in range(deepest - 1, 0, -1):
        another = expected + b","
        size, place = 1, start
        while marks.startswith(another, place):
            size += 1
            place += len(another)
        expected = b"[" + another * (size - 1) + expected + b"]"
        shape.insert(0, size)
    return tuple(shape) if marks == expected else None
