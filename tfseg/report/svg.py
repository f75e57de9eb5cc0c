"""Small pieces of SVG: elements, a linear scale with round ticks, and text cut to a width.

The plots of a page are put together from these rather than drawn by a plotting library: as part
of the page they take its colours (light, dark and printed), their text stays text for searching
and for screen readers, every dot can carry its case's name, and the same figures give the same
bytes. Coordinates are pixels of the drawing, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

_CHARACTER_EM = 0.56  # a little wider than the mean letter of common sans-serif faces


def element(tag: str, *content: str, **attributes: object) -> Markup:
    """Return an element; text is escaped, :class:`Markup` is kept.

    Args:
        tag: the element's name.
        content: texts and elements inside it.
        attributes: ``class_`` stands for ``class``, other underscores for hyphens; numbers are
            rounded to a tenth of a pixel.
    """
    fields = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for name, value in attributes.items()
    )
    inside = Markup().join(content)
    return Markup(f"<{tag}{fields}>{inside}</{tag}>" if inside else f"<{tag}{fields}/>")


def drawing(width: float, height: float, label: str, content: Iterable[str]) -> Markup:
    """Return an ``svg`` element of a size that the page may scale.

    Args:
        width: of the drawing's own coordinates.
        height: as ``width``.
        label: what a screen reader says of the picture as a whole.
        content: its elements.
    """
    box = f"0 0 {_attribute(float(width))} {_attribute(float(height))}"
    return element("svg", *content, viewBox=box, role="img", aria_label=label, class_="plot")


def text(x: float, y: float, words: str, class_: str, anchor: str = "start") -> Markup:
    """Return a line of text whose baseline starts, ends or is centred at (x, y)."""
    return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_=class_)


def fit(words: str, width: float, size: float) -> str:
    """Return ``words``, its middle left out where it would be wider than ``width`` pixels.

    The ends of a case's or a class's name tell more than its middle. The width is estimated:
    which font a reader has is not known here.

    Args:
        words: one line.
        width: room for it.
        size: of the font.
    """
    room = max(3, int(width / (_CHARACTER_EM * size)))
    if len(words) <= room:
        return words
    tail = (room - 1) // 2
    return f"{words[: room - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{words[len(words) - tail :]}"


@dataclass(frozen=True)
class Scale:
    """A linear map from the values ``low`` to ``high`` to the pixels ``start`` to ``end``.

    Both values are multiples of ``step``, the distance of ticks.
    """

    low: float
    high: float
    start: float
    end: float
    step: float

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, ticks: int = 5) -> Scale:
        """Return a scale from tick to tick that holds all values, however few or alike.

        Args:
            values: finite.
            start: pixel of the lowest tick.
            end: pixel of the highest.
            ticks: about how many steps there are; at most one more.
        """
        held = list(values) or [0.0, 1.0]
        low, high = min(held), max(held)
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
            margin = 0.05 * max(abs(low), 1.0)
            low, high = low - margin, high + margin
        step = _round_step((high - low) / ticks)
        # Less than a billionth of a step is rounding, not a reason for another tick.
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(first * step, last * step, start, end, step)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the values of the ticks and how to write them."""
        first, last = round(self.low / self.step), round(self.high / self.step)
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        shifted = self.step * 10**digits
        digits += not math.isclose(shifted, round(shifted))  # a step of 2.5 needs one more
        return [
            (n * self.step, f"{n * self.step:.{digits}f}".replace("-", "\N{MINUS SIGN}"))
            for n in range(first, last + 1)
        ]


def _round_step(raw: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(raw))
    return next(f * magnitude for f in (1, 2, 2.5, 5, 10) if f * magnitude >= raw * (1 - 1e-9))


def _attribute(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
