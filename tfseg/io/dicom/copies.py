"""Images that are there more than once: by their UID, or by their place and pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom.frames import Frame
from tfseg.io.dicom.multiframe import frames_of
from tfseg.io.dicom.pixels import decode

_Said = tuple[str, ...]


def without_copies(sheets: Iterable[Frame]) -> tuple[list[Frame], _Said, _Said]:
    """Keep one file of each image.

    Files of one SOPInstanceUID are copies where they lie at one place and have the same pixels,
    in whatever transfer syntax. Where they do not, the UID is wrong and all are kept.

    Args:
        sheets: files in an order that does not depend on their names.

    Returns:
        The files kept, what is to be told of the others, and what a person should know of it.
    """
    groups: dict[str, list[Frame]] = {}
    for number, sheet in enumerate(sheets):
        groups.setdefault(sheet.header.instance_uid or f"none {number}", []).append(sheet)
    kept: list[Frame] = []
    copies = damaged = shared = 0
    for group in groups.values():
        if len(group) == 1 or group[0].header.rows == 0:
            kept.append(group[0])
            copies += len(group) - 1
            continue
        prints = [(_places(sheet), fingerprints([sheet], whole=True)[0]) for sheet in group]
        whole = [index for index, (_, found) in enumerate(prints) if found]
        damaged += len(group) - len(whole) if whole else 0
        different = {prints[index]: group[index] for index in reversed(whole or range(len(group)))}
        chosen = list(different.values())[::-1]
        copies += len(whole or group) - len(chosen)
        shared += len(chosen) if len(chosen) > 1 else 0
        kept += chosen
    said = tuple(
        f"{name} left out: {count}"
        for name, count in (
            ("copies of the same images", copies),
            ("damaged copies of good images", damaged),
        )
        if count
    )
    told = (
        f"{shared} images share their SOPInstanceUID with another of other pixels or at another "
        "place: each is taken for an image",
    )
    return kept, said, told if shared else ()


def fingerprints(frames: Sequence[Frame], *, whole: bool = False) -> list[str]:
    """Return a digest of each slice's values; empty where its pixels cannot be decoded.

    Args:
        frames: slices.
        whole: of all frames of each slice's file.
    """
    found = dict.fromkeys(range(len(frames)), "")
    files: dict[int, list[int]] = {}
    for number, frame in enumerate(frames):
        files.setdefault(id(frame.header), []).append(number)
    for numbers in files.values():
        some = [frames[number] for number in numbers]
        if whole:
            some = [_frame(some[0], index) for index in range(some[0].header.frames)]
        try:
            planes, _ = decode(tuple(some), "series")
        except DataError:
            continue
        if whole:
            found[numbers[0]] = _digest(planes)
            continue
        for number, plane in zip(numbers, planes, strict=True):
            found[number] = _digest(plane)
    return [found[number] for number in range(len(frames))]


def same_pixels(frames: Sequence[Frame], places: Sequence[int]) -> bool:
    """Whether slices at one place have the same values, at every place."""
    groups: dict[int, list[Frame]] = {}
    for frame, place in zip(frames, places, strict=True):
        groups.setdefault(int(place), []).append(frame)
    shared = [group for group in groups.values() if len(group) > 1]
    # The first place tells most series of several volumes apart from copies.
    for some in (shared[:1], shared[1:]):
        flat = [frame for group in some for frame in group]
        digests = dict(zip(map(id, flat), fingerprints(flat), strict=True))
        for group in some:
            kinds = {(digests[id(frame)], frame.spacing, frame.unit) for frame in group}
            if len(kinds) > 1 or not next(iter(kinds))[0]:
                return False
    return True


def _places(sheet: Frame) -> tuple[object, ...]:
    """Return where a file's frames lie and what scales them."""
    try:
        frames = frames_of(sheet.header) if sheet.header.has_groups else (sheet,)
    except DataError:
        frames = (sheet,)
    return tuple(
        (one.position, one.orientation, one.spacing, one.slope, one.intercept) for one in frames
    )


def _frame(sheet: Frame, index: int) -> Frame:
    return replace(sheet, index=index)


def _digest(values: NDArray[Any]) -> str:
    # One value may be stored in several types.
    numbers = np.ascontiguousarray(values, np.float64).data
    return hashlib.blake2b(numbers, digest_size=16, person=b"pixels").hexdigest() + str(
        values.shape
    )
