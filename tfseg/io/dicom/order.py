"""Slices at one place that nothing but their order in time tells apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tfseg.io.dicom.frames import Frame
from tfseg.io.dicom.moments import past_midnight

_Key = tuple[float, ...] | None


@dataclass(frozen=True)
class Rounds:
    """Slices in the order in which each place was visited.

    Attributes:
        members: for each round the numbers of its slices; empty where nothing gives an order.
        by: what the order is that of.
        guessed: whether it is one of numbers, which need not follow time.
    """

    members: tuple[tuple[int, ...], ...]
    by: str
    guessed: bool


def rounds(frames: Sequence[Frame], places: Sequence[int]) -> Rounds:
    """Take the first slice at each place as the first round, and so on.

    An order counts only where it leaves no two slices of one place alike.
    """
    for by, keys, guessed in (
        ("trigger time or phase", _trait(frames, "phase"), False),
        ("reference time", _trait(frames, "reference time"), False),
        ("acquisition time", _trait(frames, "acquired"), False),
        ("content time", _trait(frames, "content"), False),
        ("number (InstanceNumber)", _numbers(frames), True),
    ):
        given = [key for key in keys if key is not None]
        if len(given) == len(set(zip(places, keys, strict=True))) == len(frames):
            return Rounds(_visited(places, given.__getitem__), by, guessed)
    return Rounds((), "", True)


def _visited(
    places: Sequence[int], when: Callable[[int], tuple[float, ...]]
) -> tuple[tuple[int, ...], ...]:
    found: list[list[int]] = []
    seen: dict[int, int] = {}
    for index in sorted(range(len(places)), key=when):
        turn = seen.get(int(places[index]), 0)
        seen[int(places[index])] = turn + 1
        if turn == len(found):
            found.append([])
        found[turn].append(index)
    return tuple(map(tuple, found))


def _trait(frames: Sequence[Frame], name: str) -> list[_Key]:
    values = [frame.traits.get(name) for frame in frames]
    if name in {"acquired", "content"}:
        values = in_sequence(values)
    return [tuple(map(float, value)) if isinstance(value, tuple) else None for value in values]


def in_sequence(times: Sequence[object]) -> list[object]:
    """Return moments such that those after midnight follow those before it; all or none."""
    known = [time[0] for time in times if isinstance(time, tuple)]
    if len(known) < len(times):
        return list(times)
    return [(time,) for time in past_midnight(known)]


def _numbers(frames: Sequence[Frame]) -> list[_Key]:
    return [(float(frame.header.instance), float(frame.index)) for frame in frames]
