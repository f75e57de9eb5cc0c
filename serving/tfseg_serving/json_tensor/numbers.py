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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

MIN_BYTES = 1 << 16
_PIECE_BYTES = 1 << 18
_RUN = re.compile(rb"[0-9eE.+\-,\[\] \t\r\n]+")
_SPACES = b" \t\r\n"
_DIGITS = b"0123456789"
_BLANK_BRACKETS = bytes.maketrans(b"[]", b"  ")
_OPEN, _CLOSE, _COMMA, _MINUS, _ZERO = b"[],-0"

# Which character may stand behind which, space left out: most of JSON's grammar of numbers and
# lists. The rest is checked by :func:`_has_odd_zero`, by numpy, and by counting.
_MAY_FOLLOW = {
    b"[,": b"[-" + _DIGITS,
    b"]": b",]",
    _DIGITS: _DIGITS + b".eE,]",
    b".+-": _DIGITS,
    b"eE": _DIGITS + b"+-",
}


def _table_of_pairs() -> NDArray[np.bool_]:
    table = np.zeros((256, 256), bool)
    for firsts, seconds in _MAY_FOLLOW.items():
        table[np.ix_(list(firsts), list(seconds))] = True
    return table.reshape(-1)


_PAIRS = _table_of_pairs()
_IS_SPACE, _IS_DIGIT, _IN_NUMBER = (
    np.isin(np.arange(256), list(characters))
    for characters in (_SPACES, _DIGITS, _DIGITS + b".eE+-")
)


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
    for run in _RUN.finditer(body):
        if run.end() - run.start() < MIN_BYTES:
            continue
        first, behind = body.find(b"[", *run.span()), body.rfind(b"]", *run.span()) + 1
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


def _read_array(text: bytes) -> NumberArray | None:
    """Return the array that ``text``, a run of number characters, stands for."""
    shape = _shape(np.frombuffer(text, np.uint8))
    if shape is None:
        return None
    pieces: list[NDArray[np.float64]] = []
    start = 0
    while start < len(text):
        # Pieces end behind a comma: each is short, so that other threads get their turns.
        end = text.find(b",", start + _PIECE_BYTES) + 1 or len(text)
        piece = _read_piece(text[start:end], first=start == 0)
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


def _read_piece(text: bytes, first: bool) -> NDArray[np.float64] | None:
    """Return the numbers of a piece of text; it ends in a comma if another follows it."""
    if not _is_plain(np.frombuffer(text if first else b"," + text, np.uint8)):
        return None
    plain = text.rstrip(_SPACES).removesuffix(b",").translate(_BLANK_BRACKETS)
    try:
        values = np.array(orjson.loads(b"[" + plain + b"]"), np.float64)
    except (ValueError, OverflowError):
        return None
    return values if len(values) == plain.count(b",") + 1 else None


def _is_plain(text: NDArray[np.uint8]) -> bool:
    """Tell whether text may be lists of numbers as JSON writes them."""
    places = np.flatnonzero(~_IS_SPACE[text])
    marks = text[places]
    inside = _IN_NUMBER[marks]
    apart = np.diff(places) > 1
    if (apart & inside[:-1] & inside[1:]).any():  # space within a number, or for a comma
        return False
    pairs = marks[:-1].astype(np.uint16) << 8 | marks[1:]
    return bool(_PAIRS[pairs].all()) and not _has_odd_zero(marks)


def _has_odd_zero(marks: NDArray[np.uint8]) -> bool:
    """Tell whether a number begins like 01, or is -0, the integer that has no sign."""
    padded = np.pad(marks, (2, 1), constant_values=_COMMA)
    zeros = np.flatnonzero(padded[2:-1] == _ZERO) + 2
    before, ahead, behind = padded[zeros - 1], padded[zeros - 2], padded[zeros + 1]
    starts = (before == _COMMA) | (before == _OPEN)
    negative = (before == _MINUS) & ((ahead == _COMMA) | (ahead == _OPEN))
    ends = (behind == _COMMA) | (behind == _CLOSE)
    return bool(((starts | negative) & _IS_DIGIT[behind]).any() or (negative & ends).any())


def _shape(text: NDArray[np.uint8]) -> tuple[int, ...] | None:
    """Return the shape of nested lists, by their brackets and commas alone.

    Returns:
        ``None`` where lists of one level differ in length, numbers and lists mix, or brackets do
        not match.
    """
    marks = np.flatnonzero((text == _OPEN) | (text == _CLOSE) | (text == _COMMA))
    kinds = text[marks]
    steps = (kinds == _OPEN).astype(np.int8) - (kinds == _CLOSE).astype(np.int8)
    depths = np.cumsum(steps, dtype=np.int32)  # behind each mark
    deepest = int(depths.max())
    if depths[-1] != 0 or (depths[:-1] <= 0).any() or deepest > 32:
        return None
    shape = []
    for level in range(1, deepest + 1):
        opens = np.flatnonzero((kinds == _OPEN) & (depths == level))
        closes = np.flatnonzero((kinds == _CLOSE) & (depths == level - 1))
        commas = np.flatnonzero((kinds == _COMMA) & (depths == level))
        if len(opens) != len(closes):
            return None
        counts = np.searchsorted(commas, closes) - np.searchsorted(commas, opens)
        if (counts != counts[0]).any():
            return None
        shape.append(int(counts[0]) + 1)
        if level < deepest:
            # A list stands behind each bracket and each comma of this level: no number does.
            after = np.concatenate([opens, commas]) + 1
            if (kinds[after] != _OPEN).any():
                return None
    return tuple(shape)
