"""A series taken apart into volumes.

A series (one SeriesInstanceUID) often holds several volumes: echoes, b-values, phases, time
points, stacks in several orientations. Slices of one orientation belong together; where two
lie at one place, the attribute that tells them apart parts the volumes, and where none does
their order in time. A trait that merely varies, as an acquisition number that counts slices,
parts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom.frames import Frame
from tfseg.io.dicom.headers import Series
from tfseg.io.dicom.mosaic import tiles_of
from tfseg.io.dicom.multiframe import frames_of
from tfseg.io.dicom.steps import SAME_PLACE_MM, irregular, usual_step

# In the order in which they are tried; names of :attr:`Frame.traits`.
TRAITS = (
    "image type", "echo", "inversion", "b", "direction", "time", "phase", "kernel", "acquisition",
    "stack",
)  # fmt: skip
_SAME_DIRECTION = 1e-3  # of a cosine: they are decimal strings, of four digits in old files
# Pictures that are whole by themselves, without a place in the patient.
_PROJECTIONS = frozenset(("CR", "DX", "MG", "PX", "IO", "RG", "RF", "XA", "US", "OT", "NM", "XC"))


@dataclass(frozen=True)
class Stack:
    """The slices of one volume, in any order.

    Attributes:
        series: the series it is from.
        frames: its slices.
        label: what tells it apart within the series, e.g. ``b 800``; empty where it is alone.
        decisions: sentences on how it came to be.
        refusal: why it can be no volume, or ``None``.
    """

    series: Series
    frames: tuple[Frame, ...]
    label: str = ""
    decisions: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def name(self) -> str:
        """Modality, number and label, e.g. ``MR 6 (b 800)``."""
        return f"{self.series.name} ({self.label})" if self.label else self.series.name


def split(series: Series) -> tuple[Stack, ...]:
    """Return the volumes of a series; what can be none is returned with its refusal."""
    what = f"series {series.name}"
    whole = Stack(series, series.sheets)
    if not series.is_image:
        name = series.sheets[0].header.name
        return (_refused(whole, f"{what}: holds no image (modality {series.modality}, {name})."),)
    sheets, said = _pictures(series)
    if not sheets:
        reason = f"{what}: a localizer is no volume ({series.sheets[0].name}). Leave it out."
        return (_refused(whole, reason),)
    try:
        frames = [frame for sheet in sheets for frame in _expand(sheet)]
    except DataError as error:
        return (_refused(whole, _about(what, str(error))),)
    stack = Stack(series, tuple(frames), decisions=said)
    if all(frame.position is None for frame in frames) and series.modality in _PROJECTIONS:
        return _projections(stack)
    return tuple(part for piece in _by_orientation(stack) for part in _by_place(piece))


def _pictures(series: Series) -> tuple[list[Frame], tuple[str, ...]]:
    """Return the files that make volumes, and what was left out; none but localizers: nothing."""
    sheets, copies = _without_copies(series.sheets)
    pictures = [sheet for sheet in sheets if sheet.header.rows > 0]
    chosen = [sheet for sheet in pictures if "LOCALIZER" not in sheet.header.image_type]
    counts = {
        "copies of the same images": copies,
        "files without pixels": len(sheets) - len(pictures),
        "localizers": len(pictures) - len(chosen),
    }
    return chosen, tuple(f"{name} left out: {count}" for name, count in counts.items() if count)


def _about(what: str, text: str) -> str:
    return text if text.startswith(what) else f"{what}: {text}"


def _refused(stack: Stack, reason: str) -> Stack:
    return replace(stack, refusal=reason)


def _without_copies(sheets: Iterable[Frame]) -> tuple[list[Frame], int]:
    """Keep one file of each SOPInstanceUID; files without one are all kept."""
    seen: set[str] = set()
    kept, copies = [], 0
    for sheet in sheets:
        uid = sheet.header.instance_uid
        if uid and uid in seen:
            copies += 1
            continue
        seen.add(uid)
        kept.append(sheet)
    return kept, copies


def _expand(sheet: Frame) -> tuple[Frame, ...]:
    if sheet.header.has_groups or sheet.header.frames > 1:
        return frames_of(sheet.header)
    if "MOSAIC" in sheet.header.image_type:
        return tiles_of(sheet)
    return (sheet,)


def _projections(stack: Stack) -> tuple[Stack, ...]:
    frames = sorted(stack.frames, key=lambda frame: frame.header.instance)
    if len(frames) == 1:
        return (stack,)
    said = (*stack.decisions, f"{len(frames)} images without a position: one volume each")
    return tuple(
        replace(stack, frames=(frame,), label=f"image {number}", decisions=said)
        for number, frame in enumerate(frames, 1)
    )


def _by_orientation(stack: Stack) -> tuple[Stack, ...]:
    """Part slices whose rows and columns run in different directions."""
    groups: list[list[Frame]] = []
    for frame in stack.frames:
        for group in groups:
            first = group[0].orientation
            if frame.orientation == first or (
                frame.orientation is not None
                and first is not None
                and np.allclose(frame.orientation, first, rtol=0, atol=_SAME_DIRECTION)
            ):
                group.append(frame)
                break
        else:
            groups.append([frame])
            if len(groups) > 64:
                break
    if len(groups) == 1:
        return (stack,)
    if max(map(len, groups)) == 1 or len(groups) > 64:
        return (_refused(stack, f"series {stack.series.name}: slices must share an orientation, as "
                         f"those of a localizer do not; {stack.frames[0].name} has "
                         f"{_text(stack.frames[0].orientation)}, {groups[1][0].name} "
                         f"{_text(groups[1][0].orientation)}."),)  # fmt: skip
    said = f"the series has {len(groups)} orientations, as localizers have: one volume each"
    names = _unique([_plane(group[0]) for group in groups])
    return tuple(
        Stack(stack.series, tuple(group), name, (*stack.decisions, said))
        for name, group in zip(names, groups, strict=True)
    )


def _text(numbers: Iterable[float] | None) -> str:
    return "none" if numbers is None else "\\".join(f"{number:g}" for number in numbers)


def _plane(frame: Frame) -> str:
    if frame.orientation is None:
        return "no orientation"
    normal = np.abs(np.cross(frame.orientation[:3], frame.orientation[3:]))
    return ("sagittal", "coronal", "axial")[int(np.argmax(normal))]


def _unique(names: list[str]) -> list[str]:
    """Number the names that occur more than once."""
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if names.count(name) == 1 else f"{name} {counts[name]}")
    return unique


def _by_place(stack: Stack) -> tuple[Stack, ...]:
    """Part slices that lie where others do."""
    if stack.refusal or not all(frame.is_placed for frame in stack.frames):
        return (stack,)  # what is missing is said by the geometry's own check
    along = _along(stack.frames)
    places = _places(along)
    if len(set(places.tolist())) == len(places) and (apart := _interleaved(stack, along)):
        return apart
    return tuple(_part(stack, np.arange(len(places)), places, TRAITS))


def _along(frames: tuple[Frame, ...]) -> NDArray[np.float64]:
    """Return where slices lie along their normal, in mm."""
    orientation = np.array(frames[0].orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(np.array([frame.position for frame in frames]) @ normal)


def _places(along: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number the places along the normal; slices within 0.01 mm share one."""
    order = np.argsort(along, kind="stable")
    new = np.r_[False, np.diff(along[order]) > SAME_PLACE_MM]
    places = np.empty(len(along), np.intp)
    places[order] = np.cumsum(new)
    return places


def _interleaved(stack: Stack, along: NDArray[np.float64]) -> tuple[Stack, ...]:
    """Part stacks or acquisitions that are regular by themselves and not together."""
    if len(along) < 4 or not _uneven(along):
        return ()
    for trait in ("stack", "acquisition"):
        groups: dict[object, list[int]] = {}
        for index, frame in enumerate(stack.frames):
            groups.setdefault(frame.traits.get(trait), []).append(index)
        if 1 < len(groups) <= len(along) / 2 and all(
            len(group) > 1 and not _uneven(along[group]) for group in groups.values()
        ):
            said = f"slices are even within each {trait} and not together: one volume each"
            ordered = sorted(groups.items(), key=lambda item: _sort_key(item[0]))
            return tuple(
                replace(
                    stack,
                    frames=tuple(stack.frames[index] for index in group),
                    label=_joined(stack.label, f"{trait} {_value(value)}"),
                    decisions=(*stack.decisions, said),
                )
                for value, group in ordered
            )
    return ()


def _uneven(along: NDArray[np.float64]) -> bool:
    steps = np.diff(np.sort(along))
    return bool(irregular(steps, usual_step(steps)).any())


def _joined(label: str, more: str) -> str:
    return f"{label}, {more}" if label else more


def _part(
    stack: Stack, members: NDArray[np.intp], places: NDArray[np.intp], traits: tuple[str, ...]
) -> list[Stack]:
    """Split the slices ``members`` of ``stack`` until none lie together."""
    counts = np.unique(places[members], return_counts=True)[1]
    frames = tuple(stack.frames[index] for index in members)
    if len(counts) == len(members):
        return [replace(stack, frames=frames)]
    for number, trait in enumerate(traits):
        groups: dict[object, list[int]] = {}
        for index in members:
            groups.setdefault(stack.frames[index].traits.get(trait), []).append(int(index))
        together = len(members) - len(counts)
        left = sum(len(group) - len(set(places[group])) for group in groups.values())
        # More values than slices at any place: it counts slices and tells no volumes apart.
        if not 1 < len(groups) <= counts.max() or left >= together:
            continue
        stacks = []
        for value, group in sorted(groups.items(), key=lambda item: _sort_key(item[0])):
            said = f"slices of the series share places; this volume has {trait} {_value(value)}"
            part = replace(
                stack,
                label=_joined(stack.label, f"{trait} {_value(value)}"),
                decisions=(*stack.decisions, said),
            )
            stacks += _part(part, np.array(group), places, traits[number + 1 :])
        return stacks
    return _by_order(stack, members, places)


def _by_order(stack: Stack, members: NDArray[np.intp], places: NDArray[np.intp]) -> list[Stack]:
    """The first slice at each place makes the first volume, and so on."""

    def when(index: int) -> tuple[float, int, int]:
        frame = stack.frames[index]
        phase = frame.traits.get("phase")
        return (float(phase[0]) if isinstance(phase, tuple) else 0.0,
                frame.header.instance, frame.index)  # fmt: skip

    rounds: list[list[int]] = []
    seen: dict[int, int] = {}
    for index in sorted(map(int, members), key=when):
        turn = seen.get(int(places[index]), 0)
        seen[int(places[index])] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    stacks = []
    for number, chosen in enumerate(rounds, 1):
        said = f"slices lie together and nothing but their order tells them apart: round {number}"
        part = replace(
            stack,
            frames=tuple(stack.frames[index] for index in chosen),
            label=_joined(stack.label, f"time {number}"),
            decisions=(*stack.decisions, f"{said} of {len(rounds)}"),
        )
        if len(chosen) < len(seen) / 2:
            part = _refused(part, f"series {stack.series.name}: every slice must have a place of "
                            f"its own; {len(chosen)} of {len(members)} lie where another does and "
                            f"are too few for a volume of {len(seen)} slices.")  # fmt: skip
        stacks.append(part)
    return stacks


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(f"{number:g}" for number in value)
    return "none" if value is None else str(value)


def _sort_key(value: object) -> tuple[int, tuple[float, ...], str]:
    if isinstance(value, tuple):
        return (1, tuple(float(number) for number in value), "")
    return (0 if value is None else 2, (), str(value or ""))
