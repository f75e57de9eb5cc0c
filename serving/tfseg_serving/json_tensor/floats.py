"""Floats as the text that TF-Serving writes, in bulk.

Python formats one number at a time, a third of a microsecond each. Most of what a network answers
needs all nine digits of a float32, and those are a whole number that numpy finds and lays out for
thousands at once; what is left, Python formats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 14  # numbers in one go, so that other threads get their turns
_INFINITE = {True: "Infinity", False: "-Infinity"}

# By index: -22 is 10.0 ** -22, as Python counts from the end.
_TENS = np.array([10.0**power for power in (*range(23), *range(-22, 0))])
_DIGITS = 9  # that tell a float32 from all others
_LEAST, _GREATEST = _DIGITS - 1 - 22, _DIGITS - 2  # exponents: to nine digits by an exact power
_LAST_FIXED = -4  # below, %g writes an exponent
_WIDTH = 16  # -1.23456789e-05 and a line feed
_ZERO, _NINES = ord("0"), 10**_DIGITS


def float_texts(values: NDArray[np.floating]) -> list[str]:
    """Return numbers as TF-Serving writes them: six digits if they are exact, else all.

    Whole numbers get ``.0`` so that a reader can tell their type; what is not finite becomes
    ``NaN``, ``Infinity`` or ``-Infinity``.

    Args:
        values: (n,) float32 or float64.
    """
    texts: list[str] = []
    with np.errstate(over="ignore", invalid="ignore"):  # past float32; a signalling NaN
        for start in range(0, len(values), _PIECE):
            texts += _piece_texts(values[start : start + _PIECE])
    return texts


def _piece_texts(values: NDArray[np.floating]) -> list[str]:
    numbers = values.astype(np.float64)
    size = np.abs(numbers)
    in_table = (size >= 1e-15) & (size < 1e15)  # where float64 has these powers of ten
    size[~in_table] = 1
    exponent = _exponents(size)
    maybe_short = _may_be_short(size, exponent, values.dtype) | ~in_table
    if values.dtype != np.float32:
        return _slow_texts(values, numbers, maybe_short)
    scaled = size * _TENS[_DIGITS - 1 - exponent.clip(_LEAST, _GREATEST)]
    # The product is off by less than a millionth: enough to tell how it rounds, but near a half.
    clear = np.abs(scaled - np.floor(scaled) - 0.5) > 1e-6
    quick = clear & ~maybe_short & (exponent >= _LEAST) & (exponent <= _GREATEST)
    quick &= numbers != np.trunc(numbers)
    if not quick.any():
        return _slow_texts(values, numbers, maybe_short)
    whole = np.rint(np.where(quick, scaled, 1)).astype(np.uint32)
    texts = _quick_texts(whole, exponent, np.signbit(numbers), quick)
    slow = np.flatnonzero(~quick)
    usual = _slow_texts(values[slow], numbers[slow], maybe_short[slow])
    for position, text in zip(slow.tolist(), usual, strict=True):
        texts[position] = text
    return texts


def _exponents(size: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the decimal exponents of positive numbers."""
    exponent = np.floor(np.log10(size)).astype(np.intp)
    exponent += (size >= _TENS[exponent + 1]).astype(np.intp)
    exponent -= (size < _TENS[exponent]).astype(np.intp)
    return exponent


def _may_be_short(
    size: NDArray[np.float64], exponent: NDArray[np.intp], dtype: np.dtype[np.floating]
) -> NDArray[np.bool_]:
    """Tell of which numbers six digits may be exact: of all others, they are not."""
    scale = _TENS[5 - exponent]
    rounded = np.rint(size * scale) / scale
    # Half a step between floats, and a little for the arithmetic here.
    near: NDArray[np.bool_] = np.abs(rounded - size) <= size * (0.501 * np.finfo(dtype).eps)
    return near


def _quick_texts(
    whole: NDArray[np.uint32],
    exponent: NDArray[np.intp],
    negative: NDArray[np.bool_],
    quick: NDArray[np.bool_],
) -> list[str]:
    """Return the nine digits of numbers that are not whole, an empty text where not ``quick``.

    Args:
        whole: (n,) the digits, as a number of nine or, where they round up, ten.
        exponent: (n,) of the first of them.
        negative: (n,) sign.
        quick: (n,) which to write.
    """
    carried = whole == _NINES
    whole = np.where(carried, _NINES // 10, whole)
    exponent = exponent + carried
    # %g drops zeros at the end. Nothing is written as a zero byte, and taken out at last.
    digits = np.empty((len(whole), _DIGITS), np.uint8)
    kept = np.zeros(len(whole), bool)
    for place in reversed(range(_DIGITS)):
        above = whole // 10
        digit = (whole - above * 10).astype(np.uint8)
        kept |= digit != 0
        digits[:, place] = (digit + _ZERO) * kept
        whole = above
    page = np.zeros((len(whole), _WIDTH), np.uint8)
    for power in np.unique(exponent[quick]).tolist():
        rows = np.flatnonzero(quick & (exponent == power))
        lines = np.zeros((len(rows), _WIDTH), np.uint8)
        numbers = digits[rows]
        if power >= 0:
            lines[:, 1 : power + 2] = numbers[:, : power + 1]
            lines[:, power + 2] = ord(".")
            lines[:, power + 3 : _DIGITS + 2] = numbers[:, power + 1 :]
        elif power >= _LAST_FIXED:
            lines[:, 1 : 2 - power] = _ZERO
            lines[:, 2] = ord(".")
            lines[:, 2 - power : 2 - power + _DIGITS] = numbers
        else:
            lines[:, 1] = numbers[:, 0]
            lines[:, 2] = ord(".") * (numbers[:, 1] != 0)
            lines[:, 3 : _DIGITS + 2] = numbers[:, 1:]
            lines[:, _DIGITS + 2 : -1] = list(b"e-%02d" % -power)
        lines[:, 0] = ord("-") * negative[rows]
        page[rows] = lines
    page[:, -1] = ord("\n")
    return page.tobytes().translate(None, b"\0").decode().split("\n")[:-1]


def _slow_texts(
    values: NDArray[np.floating], numbers: NDArray[np.float64], maybe_short: NDArray[np.bool_]
) -> list[str]:
    """Return any numbers: ``values`` as they are, ``numbers`` the same in float64."""
    digits = _DIGITS if values.dtype == np.float32 else 17
    # One call for all of them takes half the time of one call each.
    texts = (f"%.{digits}g\n" * len(numbers) % tuple(numbers.tolist())).split("\n")[:-1]
    positions = np.flatnonzero(maybe_short)
    short = list(map("%g".__mod__, numbers[positions].tolist()))
    parsed = np.fromiter(map(float, short), np.float64, len(short))
    exact = parsed.astype(values.dtype) == values[positions]
    for position, text, is_exact in zip(positions.tolist(), short, exact.tolist(), strict=True):
        if is_exact:
            texts[position] = text
    for position in np.flatnonzero(values == np.trunc(values)).tolist():
        if "." not in texts[position] and "e" not in texts[position]:
            texts[position] += ".0"
    for position in np.flatnonzero(~np.isfinite(values)).tolist():
        number = numbers[position]
        texts[position] = "NaN" if number != number else _INFINITE[number > 0]
    return texts
