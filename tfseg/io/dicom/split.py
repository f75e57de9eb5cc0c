"""A series taken apart into volumes.

A series (one SeriesInstanceUID) often holds several volumes: echoes, b-values, phases, time
points, stacks in several orientations. Slices of one orientation belong together; where two
lie at one place, see :mod:`.apart`. A trait that merely varies, as an acquisition number that
counts slices, parts nothing. Names of files and their order decide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from tfseg.errors import DataError
from tfseg.io.dicom.apart import by_place
from tfseg.io.dicom.copies import without_copies
from tfseg.io.dicom.frames import Frame
from tfseg.io.dicom.headers import Series
from tfseg.io.dicom.mosaic import tiles_of
from tfseg.io.dicom.multiframe import frames_of
from tfseg.io.dicom.scout import FEWEST_BESIDE, belongs
from tfseg.io.dicom.stack import Stack

_SAME_DIRECTION = 1e-3  # of a cosine: they are decimal strings, of four digits in old files
_MOST_ORIENTATIONS = 64
# Pictures that are whole by themselves, without a place in the patient.
_PROJECTIONS = frozenset(("CR", "DX", "MG", "PX", "IO", "RG", "RF", "XA", "US", "OT", "NM", "XC"))
_SCOUTS = frozenset(("LOCALIZER", "SCOUT"))


def split(series: Series) -> tuple[Stack, ...]:
    """Return the volumes of a series; what can be none is returned with its refusal."""
    what = f"series {series.name}"
    whole = Stack(series, series.sheets, series.label, series.said, None, series.said)
    if not series.is_image:
        name = series.sheets[0].header.name
        return (whole.refused(f"{what}: holds no image (modality {series.modality}, {name})."),)
    sheets, said, told = _pictures(series)
    if not sheets:
        reason = f"{what}: a localizer is no volume ({series.sheets[0].name}). Leave it out."
        return (whole.refused(reason),)
    try:
        frames = [frame for sheet in sheets for frame in _expand(sheet)]
    except DataError as error:
        return (whole.refused(_about(what, str(error))),)
    stack = Stack(
        series,
        tuple(frames),
        series.label,
        (*series.said, *said, *told),
        None,
        (*series.said, *told),
    )
    if all(frame.position is None for frame in frames) and series.modality in _PROJECTIONS:
        return _projections(stack)
    return tuple(part for piece in _by_orientation(stack) for part in by_place(piece))


def split_all(series: Iterable[Series]) -> list[Stack]:
    """Return the volumes of several series.

    Secondary captures without a place that lie among slices, by series or folder, are refused.
    """
    stacks = [stack for one in series for stack in split(one)]
    slices = [one for one in stacks if one.refusal is None and one.frames[0].is_placed]
    uids = {one.series.uid for one in slices} - {""}
    folders = {frame.header.path.parent for one in slices for frame in one.frames}
    return [
        stack.refused(
            f"series {stack.series.name}: a secondary capture without a place, among the slices "
            "of a volume, is no slice."
        )
        if stack.refusal is None
        and all(frame.position is None and frame.header.is_capture for frame in stack.frames)
        and (stack.series.uid in uids or stack.frames[0].header.path.parent in folders)
        else stack
        for stack in stacks
    ]


_Said = tuple[str, ...]


def _pictures(series: Series) -> tuple[list[Frame], _Said, _Said]:
    """Return the files that make volumes, what was left out, and what a person should know of it.

    None but localizers: no files.
    """
    sheets, copied, told = without_copies(series.sheets)
    pictures = [sheet for sheet in sheets if sheet.header.rows > 0]
    chosen = [sheet for sheet in pictures if not _SCOUTS & set(sheet.header.image_type)]
    counts = {
        "files without pixels": len(sheets) - len(pictures),
        "localizers": len(pictures) - len(chosen),
    }
    said = [f"{name} left out: {count}" for name, count in counts.items() if count]
    for name, among in (
        ("screen shots and secondary captures", _originals),
        ("colour pictures", _gray),
        ("pictures without a place", _placed),
    ):
        images = among(chosen)
        if images and len(images) < len(chosen):
            told = (*told, f"{name} among the images left out: {len(chosen) - len(images)}")
            chosen = images
    return chosen, (*copied, *said), told


def _originals(sheets: list[Frame]) -> list[Frame]:
    return [sheet for sheet in sheets if not sheet.header.is_capture]


def _gray(sheets: list[Frame]) -> list[Frame]:
    return [
        sheet
        for sheet in sheets
        if sheet.header.samples == 1 and sheet.header.photometric != "PALETTE COLOR"
    ]


def _placed(sheets: list[Frame]) -> list[Frame]:
    """Return all but pictures of another size or kind without a place; slices stay, and are
    refused where they lost theirs.
    """

    def kind(sheet: Frame) -> tuple[object, ...]:
        header = sheet.header
        return header.rows, header.columns, header.sop_class, header.image_type[:2]

    placed = [sheet for sheet in sheets if sheet.position is not None]
    if not placed:
        return sheets
    ((usual, _),) = Counter(kind(sheet) for sheet in placed).most_common(1)
    return [
        sheet
        for sheet in sheets
        if sheet.position is not None
        or sheet.orientation is not None
        or sheet.header.has_groups
        or sheet.header.frames > 1
        or kind(sheet) == usual
    ]


def _about(what: str, text: str) -> str:
    return text if text.startswith(what) else f"{what}: {text}"


def _expand(sheet: Frame) -> tuple[Frame, ...]:
    if sheet.header.has_groups or sheet.header.frames > 1:
        # What a frame does not say of itself, its file may say of all.
        return tuple(
            replace(frame, traits=sheet.traits | frame.traits) for frame in frames_of(sheet.header)
        )
    if "MOSAIC" in sheet.header.image_type:
        return tiles_of(sheet)
    return (sheet,)


def _projections(stack: Stack) -> tuple[Stack, ...]:
    if len(stack.frames) == 1:
        return (stack,)
    said = f"{len(stack.frames)} images without a position: one volume each"
    return tuple(
        stack.part([number], f"image {number + 1}", said) for number in range(len(stack.frames))
    )


def _by_orientation(stack: Stack) -> tuple[Stack, ...]:
    """Part slices whose rows and columns run in different directions."""
    groups: list[list[int]] = []
    for index, frame in enumerate(stack.frames):
        for group in groups:
            first = stack.frames[group[0]].orientation
            if frame.orientation == first or (
                frame.orientation is not None
                and first is not None
                and np.allclose(frame.orientation, first, rtol=0, atol=_SAME_DIRECTION)
            ):
                group.append(index)
                break
        else:
            groups.append([index])
            if len(groups) > _MOST_ORIENTATIONS:
                break
    if len(groups) == 1:
        return (stack,)
    firsts = [stack.frames[group[0]] for group in groups]
    if max(map(len, groups)) == 1 or len(groups) > _MOST_ORIENTATIONS:
        return (stack.refused(f"series {stack.series.name}: slices must share an orientation, as "
                              f"those of a localizer do not; {firsts[0].name} has "
                              f"{_text(firsts[0].orientation)}, {firsts[1].name} "
                              f"{_text(firsts[1].orientation)}."),)  # fmt: skip
    said = f"the series has {len(groups)} orientations, as localizers have: one volume each"
    names = _unique([_plane(first) for first in firsts])
    parts = [stack.part(group, name, said) for name, group in zip(names, groups, strict=True)]
    return tuple(_without_scouts(parts))


def _without_scouts(parts: list[Stack]) -> list[Stack]:
    """Refuse lone slices beside a volume; with the volume, where they may be slices of it."""
    most = max(parts, key=lambda part: len(part.frames))
    count, what = len(most.frames), f"series {most.series.name}"
    kept, lost = [], []
    for part in parts:
        first = part.frames[0]
        if part is not most and len(part.frames) == 1 and count >= FEWEST_BESIDE:
            if belongs(first, most.frames):
                lost.append(first)
                continue
            part = part.refused(
                f"{what}: a single slice of another orientation than {count} others is taken for "
                f"a scout ({first.name})."
            )
        if first.orientation is None:
            part = part.refused(
                f"{what}: every slice needs ImagePositionPatient and ImageOrientationPatient, as "
                f"others of the series have; {first.name} has none."
            )
        kept.append(part)
    if not lost:
        return kept
    others = [part for part in kept if part.frames is not most.frames]
    mixed = replace(most, frames=(*most.frames, *lost)).refused(
        f"{what}: slices of one volume must share an orientation; {lost[0].name} has "
        f"{_text(lost[0].orientation)}, {count} others have {_text(most.frames[0].orientation)}, "
        "and it may be one of them by its size and place. Correct its header, or take it out."
    )
    return [mixed, *others]


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
