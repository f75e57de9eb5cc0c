"""Slices of one orientation taken apart into volumes, each with one slice at a place.

Where slices lie at one place, the attribute that tells them apart parts the volumes; where none
does, equal pixels make copies of them; where they differ, their order in time parts them. What
nothing tells apart is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tfseg.io.dicom.copies import same_pixels
from tfseg.io.dicom.order import in_sequence, rounds
from tfseg.io.dicom.stack import Stack
from tfseg.io.dicom.steps import SAME_PLACE_MM, irregular, usual_step
from tfseg.io.dicom.traits import TRAITS, label, mixed, sort_key, value_text

_BESIDE_MM = 1.0  # far above rounding, far below two fields of view
_Places = NDArray[np.intp]
# Of these one value comes after the other: a few slices of the second are slices done again.
_IN_TIME = frozenset(("time", "acquisition", "reference time", "acquired", "content"))
_OF_FEW = _IN_TIME | {"image type", "kind"}  # and so are a few pictures made from the slices
# Slices that differ in these and in no pixel are copies.
_OF_COPIES = _IN_TIME | {"kind", "description"}


def by_place(stack: Stack) -> tuple[Stack, ...]:
    """Part slices that lie where others do, and stacks that lie between each other."""
    if stack.refusal or not all(frame.is_placed for frame in stack.frames):
        return (stack,)  # what is missing is said by the geometry's own check
    places = _places(_along(stack))
    counts = np.bincount(places)
    if 1 == counts.min() < counts.max() and same_pixels(stack.frames, places.tolist()):
        stack = _once(stack, places)  # acquisitions that overlap
    return tuple(
        volume for part in _part(stack, (*_SHAPES, *TRAITS)) for volume in _interleaved(part)
    )


def _along(stack: Stack) -> NDArray[np.float64]:
    """Return where slices lie along their normal, in mm."""
    orientation = np.array(stack.frames[0].orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(np.array([frame.position for frame in stack.frames]) @ normal)


def _places(along: NDArray[np.float64], apart_mm: float = SAME_PLACE_MM) -> _Places:
    """Number the places along the normal; slices within 0.01 mm share one."""
    order = np.argsort(along, kind="stable")
    new = np.r_[False, np.diff(along[order]) > apart_mm]
    places = np.empty(len(along), np.intp)
    places[order] = np.cumsum(new)
    return places


def _once(stack: Stack, places: _Places) -> Stack:
    """Keep the first slice at each place."""
    kept = np.sort(np.unique(places, return_index=True)[1])
    left = len(places) - len(kept)
    return stack.part(
        kept.tolist(),
        "",
        f"slices at the place of others and with the same pixels left out: {left}",
    )


def _part(stack: Stack, traits: tuple[str, ...]) -> list[Stack]:
    """Split slices until none lie together."""
    places = _places(_along(stack))
    counts = np.bincount(places)
    if counts.max() == 1:
        return [stack]
    for number, trait in enumerate(traits):
        groups = _groups(stack, trait)
        together = len(places) - len(counts)
        left = sum(len(group) - len(set(places[group])) for group in groups.values())
        # More values than slices at any place: it counts slices and tells no volumes apart.
        if not 1 < len(groups) <= counts.max() or left >= together:
            continue
        if trait in _OF_COPIES and same_pixels(stack.frames, places.tolist()):
            return [_once(stack, places)]
        stacks = []
        for count, (value, group) in enumerate(groups.items(), 1):
            named = label(trait, value, count)
            part = stack.part(
                group, named, f"slices of the series share places; this volume has {named}"
            )
            if trait in _OF_FEW and _done_again(places, group, counts):
                part = part.refused(_left_over(stack, len(group), len(counts)))
            stacks += [part] if part.refusal else _part(part, traits[number + 1 :])
        return stacks
    if same_pixels(stack.frames, places.tolist()):
        return [_once(stack, places)]
    return _by_order(stack, places, counts)


def _groups(stack: Stack, trait: str) -> dict[object, list[int]]:
    """Return the slices of each value of a trait, values in order."""
    found: dict[object, list[int]] = {}
    if trait in _SHAPES:
        values = _SHAPES[trait](stack)
    else:
        values = [frame.traits.get(trait) for frame in stack.frames]
    if trait in {"acquired", "content"}:
        values = in_sequence(values)
    for index, value in enumerate(values):
        found.setdefault(value, []).append(index)
    return dict(sorted(found.items(), key=lambda item: sort_key(item[0])))


def _sides(stack: Stack) -> list[object]:
    """Number where slices lie in their plane: beside each other, as those of two breasts do."""
    axes = np.array(stack.frames[0].orientation).reshape(2, 3)
    within = np.array([frame.position for frame in stack.frames]) @ axes.T
    numbers = [_places(column, _BESIDE_MM).tolist() for column in within.T]
    return list(zip(*numbers, strict=True))


# What slices that do not make one volume differ in, beside their traits.
_SHAPES: dict[str, Callable[[Stack], list[object]]] = {
    "side": _sides,
    "size": lambda stack: [(frame.rows, frame.columns) for frame in stack.frames],
    "pixel spacing": lambda stack: [frame.spacing for frame in stack.frames],
}


def _done_again(places: _Places, group: Sequence[int], counts: _Places) -> bool:
    return len(group) < len(counts) / 2 and bool((counts[places[list(group)]] > 1).all())


def _left_over(stack: Stack, count: int, places: int) -> str:
    return (
        f"series {stack.series.name}: every slice must have a place of its own; {count} of "
        f"{len(stack.frames)} lie where another does and are too few for a volume of {places} "
        "slices."
    )


def _by_order(stack: Stack, places: _Places, counts: _Places) -> list[Stack]:
    """The first slice at each place makes the first volume, and so on."""
    order = rounds(stack.frames, places.tolist())
    first, second = np.flatnonzero(places == counts.argmax())[:2]
    if not order.members:
        return [stack.refused(
            f"series {stack.series.name}: slices at one place must differ in an attribute or in "
            f"time; {stack.frames[first].name} and {stack.frames[second].name} differ in their "
            "pixels alone. Take one of them out, or number them (InstanceNumber)."
        )]  # fmt: skip
    repeated = int((counts > 1).sum())
    if counts.min() < counts.max() and repeated >= len(counts) / 2:
        return [stack.refused(
            f"series {stack.series.name}: slices of several volumes must be alike in number where "
            f"only their {order.by} tells them apart; there are {counts.min()} to {counts.max()} "
            "at one place. Some are missing: transfer the series again."
        )]  # fmt: skip
    stacks = []
    for number, chosen in enumerate(order.members, 1):
        said = (
            f"slices lie together and only the order of their {order.by} tells them apart: round "
            f"{number} of {len(order.members)}"
        )
        uneven = counts.min() < counts.max()
        part = stack.part(chosen, f"time {number}", said, guessed=order.guessed or uneven)
        if len(chosen) < len(counts) / 2:
            part = part.refused(_left_over(stack, len(chosen), len(counts)))
        stacks.append(part)
    return stacks


def _interleaved(stack: Stack) -> tuple[Stack, ...]:
    """Part stacks or acquisitions that are regular by themselves and not together."""
    if stack.refusal:
        return (stack,)
    along = _along(stack)
    if len(along) >= 4 and _uneven(along):
        for trait in ("stack", "acquisition", *TRAITS):
            groups = _groups(stack, trait)
            if 1 < len(groups) <= len(along) / 2 and all(
                len(group) > 1 and not _uneven(along[group]) for group in groups.values()
            ):
                said = f"slices are even within each {trait} and not together: one volume each"
                return tuple(
                    stack.part(group, label(trait, value, number), said)
                    for number, (value, group) in enumerate(groups.items(), 1)
                )
            if found := _between(stack, along, trait, groups):
                return found
    differ = mixed([frame.traits for frame in stack.frames])
    for trait, plural in (("acquisition", "acquisitions"), ("acquired", "acquisition times")):
        groups = _groups(stack, trait)
        if 1 < len(groups) <= len(along) / 2 and _overlap([along[one] for one in groups.values()]):
            differ = (*differ, f"slices of {len(groups)} {plural} lie "
                      "between each other, evenly: taken as one volume")  # fmt: skip
            break
    return (replace(stack, decisions=(*stack.decisions, *differ),
                    cautions=(*stack.cautions, *differ)),)  # fmt: skip


def _between(
    stack: Stack, along: NDArray[np.float64], trait: str, groups: dict[object, list[int]]
) -> tuple[Stack, ...]:
    """Set pictures aside that lie between the slices of an even volume and are of another kind."""
    value, most = max(groups.items(), key=lambda item: len(item[1]))
    others = np.setdiff1d(np.arange(len(along)), most).tolist()
    if not others or len(most) <= len(along) / 2 or len(most) < 4 or _uneven(along[most]):
        return ()
    inside = (along[most].min() < along[others]) & (along[others] < along[most].max())
    if not inside.all() or trait not in {"image type", "kind", "acquisition", "stack", "kernel"}:
        return ()
    said = f"slices left out that lie between others and have another {trait}: {len(others)}"
    reason = (
        f"series {stack.series.name}: slices of one volume must be evenly spaced; {len(others)} "
        f"lie between those with {trait} {value_text(value)} and have another one."
    )
    return (stack.part(most, "", said, guessed=True),
            stack.part(others, f"other {trait}").refused(reason))  # fmt: skip


def _overlap(groups: list[NDArray[np.float64]]) -> bool:
    """Whether one group of places begins before another ends."""
    ends = sorted((float(group.min()), float(group.max())) for group in groups)
    return any(after[0] < before[1] for before, after in pairwise(ends))


def _uneven(along: NDArray[np.float64]) -> bool:
    steps = np.diff(np.sort(along))
    return bool(irregular(steps, usual_step(steps)).any())
