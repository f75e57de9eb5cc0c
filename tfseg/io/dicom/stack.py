"""The slices of one volume, before they are placed and decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tfseg.io.dicom.frames import Frame
from tfseg.io.dicom.headers import Series


@dataclass(frozen=True)
class Stack:
    """The slices of one volume, in any order.

    Attributes:
        series: the series it is from.
        frames: its slices.
        label: what tells it apart within the series, e.g. ``b 800``; empty where it is alone.
        decisions: sentences on how it came to be.
        refusal: why it can be no volume, or ``None``.
        cautions: those of ``decisions`` that are guesses, or that leave pictures aside.
    """

    series: Series
    frames: tuple[Frame, ...]
    label: str = ""
    decisions: tuple[str, ...] = ()
    refusal: str | None = None
    cautions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Modality, number and label, e.g. ``MR 6 (b 800)``."""
        return f"{self.series.name} ({self.label})" if self.label else self.series.name

    def refused(self, reason: str) -> Stack:
        """Return the same slices as no volume."""
        return replace(self, refusal=reason)

    def part(
        self, indices: Iterable[int], label: str, said: str = "", *, guessed: bool = False
    ) -> Stack:
        """Return some of the slices as a volume of its own.

        Args:
            indices: which.
            label: what tells them apart, added to what does so already.
            said: a sentence on how.
            guessed: whether a person should check it.
        """
        more = (said,) if said else ()
        return replace(
            self,
            frames=tuple(self.frames[index] for index in indices),
            label=", ".join(filter(None, (self.label, label))),
            decisions=(*self.decisions, *more),
            cautions=(*self.cautions, *more) if guessed else self.cautions,
        )
