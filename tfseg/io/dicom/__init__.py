"""DICOM: series of slices, multi-frame files and mosaics as volumes (PS3.3 C.7.6.2).

Where voxels are comes from ImagePositionPatient, ImageOrientationPatient and PixelSpacing
alone: never from file names, file order or SliceThickness. The way is :func:`scan_tree`
(headers), :func:`split` (a series into volumes), :func:`load` (geometry checked and made
regular, pixels decoded). What is corrected on the way is said; what cannot be put right is
refused with the rule that it breaks. ``docs/dicom.md`` lists the rules.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfseg.errors import DataError
from tfseg.io.dicom.grid import place
from tfseg.io.dicom.headers import Series, Tree, scan_tree
from tfseg.io.dicom.lut import with_units
from tfseg.io.dicom.pixels import decode
from tfseg.io.dicom.regular import regularise
from tfseg.io.dicom.scales import check_scales
from tfseg.io.dicom.sources import opened
from tfseg.io.dicom.split import split, split_all
from tfseg.io.dicom.stack import Stack
from tfseg.io.dicom.suv import UNIT, uptake
from tfseg.volume import Volume

__all__ = [
    "Loaded",
    "Series",
    "Stack",
    "Tree",
    "decode",
    "load",
    "opened",
    "read",
    "read_stack",
    "scan_tree",
    "split",
    "split_all",
    "the_volume",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A volume and how it came to be.

    Attributes:
        volume: voxels and their place.
        unit: of the values: ``HU``, ``SUVbw g/ml``, DICOM's code for other PET; empty where
            DICOM names none.
        decisions: sentences on what was split, corrected and converted.
        cautions: those of ``decisions`` that a person should know: the geometry was corrected,
            or values are not in the unit that others of their kind are in.
    """

    volume: Volume
    unit: str
    decisions: tuple[str, ...]
    cautions: tuple[str, ...] = ()


def load(stack: Stack, *, allow_gaps: bool = False, suv: bool = True) -> Loaded:
    """Read one volume of a series.

    Rescale slope and intercept, or the Modality LUT, are applied slice by slice; MONOCHROME1
    is inverted, so more is always brighter. Integers stay integers where slope and intercept
    allow it. Tilted and unevenly spaced slices are resampled onto a regular grid.

    Args:
        stack: from :func:`split`.
        allow_gaps: interpolate missing slices instead of refusing them.
        suv: scale PET to standardised uptake values where the header allows it.

    Raises:
        DataError: a refused stack; slices that differ in size, lie at one place or are
            missing; pixels that cannot be decoded.
    """
    if stack.refusal is not None:
        raise DataError(stack.refusal)
    what = f"series {stack.name}"
    placed = place(stack.frames, what, allow_gaps=allow_gaps)
    frames = with_units(placed.frames, what)
    remarks = dict.fromkeys(remark for frame in frames for remark in frame.remarks)
    said = (*stack.decisions, *remarks, *placed.decisions)
    cautions = (*stack.cautions, *remarks, *placed.decisions)
    header = frames[0].header
    scales = check_scales(frames, what)
    said, cautions = (*said, *scales), (*cautions, *scales)
    unit = frames[0].named_unit
    if stack.series.modality == "PT" and suv:
        activity = uptake(frames)
        frames, unit, said = activity.frames, activity.unit, (*said, activity.decision)
        if unit != UNIT or activity.doubtful:
            cautions = (*cautions, activity.decision)
    if header.photometric == "MONOCHROME1":
        units = unit or "what a rescale of CT gives"
        inverted = "inverted" if frames[0].inverted else f"kept, since values are in {units}"
        said = (*said, f"MONOCHROME1 {inverted}")
    array, cut = decode(frames, what)
    said, cautions = (*said, *cut), (*cautions, *cut)
    if placed.correction is not None:
        array = regularise(array, placed.correction)
    volume = Volume(array, placed.affine, stack.series.modality)
    return Loaded(volume, unit, said, cautions)


def read(path: str | os.PathLike[str], series_uid: str | None = None) -> Volume:
    """Read the one volume of a folder, a zip or a file.

    What was corrected, and damaged files that were skipped, are logged as warnings.

    Args:
        path: a folder of any depth with any file names, a zip of one, or a file: a slice, a
            multi-frame image or a mosaic.
        series_uid: SeriesInstanceUID of the series to read where there are several.

    Raises:
        DataError: no DICOM there, several volumes and none chosen, or one that cannot be read
            (see :func:`load`).
    """
    path = Path(path)
    with the_volume(path, series_uid) as (stack, left_out, tree):
        try:
            volume = read_stack(path, stack)
        except DataError as error:
            raise DataError(f"{error}{_damaged_text(tree)}") from error
        for other in left_out:
            _log.warning("%s: left out: %s", path, other.refusal)
        for broken in tree.unreadable:
            _log.warning("%s: skipped damaged file %s: %s", path, broken.path, broken.reason)
        return volume


def read_stack(path: Path, stack: Stack) -> Volume:
    """Read one volume of those at ``path``. What was corrected is logged as warnings.

    Raises:
        DataError: see :func:`load`.
    """
    try:
        loaded = load(stack)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    for said in loaded.cautions:
        _log.warning("%s: %s: %s", path, stack.name, said)
    return loaded.volume


@contextmanager
def the_volume(
    path: Path, series_uid: str | None = None
) -> Iterator[tuple[Stack, tuple[Stack, ...], Tree]]:
    """Yield the slices of the one volume of a folder, a zip or a file.

    The files are there while the block runs: those of a zip are unpacked and removed again.

    Args:
        path: as for :func:`read`.
        series_uid: SeriesInstanceUID of the series to read where there are several.

    Yields:
        The volume, the refused ones beside it, and all that was found.

    Raises:
        DataError: no DICOM there, or several volumes and none chosen.
    """
    with opened(path) as source:
        tree = scan_tree(source)
        if not tree.series:
            if source.is_file() and not tree.unreadable:
                raise DataError(
                    f"{path}: no DICOM image: bytes 128 to 131 must be DICM, and a DICOMDIR is no "
                    "image. Check the file."
                )
            raise DataError(
                f"{path}: a DICOM image series is needed; found {tree.skipped} files, none of "
                f"them DICOM{_damaged_text(tree)}."
            )
        chosen = [one for one in tree.series if series_uid in {None, one.uid}]
        if not chosen:
            raise DataError(
                f"{path}: no series {series_uid}. The folder holds {len(tree.series)} series: "
                f"{_listing([one.name for one in tree.series])}."
            )
        images = [one for one in chosen if one.is_image] or chosen
        stacks = [stack for one in images for stack in split(one)]
        usable = [stack for stack in stacks if stack.refusal is None]
        if series_uid is None:
            stacks, usable = _without_captures(stacks, usable)
        if len(usable) > 1:
            raise DataError(
                f"{path}: one volume is needed; there are {len(usable)} volumes: "
                f"{_listing([stack.name for stack in usable])}. "
                "Choose the folder of one, or convert all with `tfseg import-dicom`."
            )
        if not usable:
            raise DataError(f"{path}: {stacks[0].refusal}")
        yield usable[0], tuple(stack for stack in stacks if stack.refusal is not None), tree


def _without_captures(stacks: list[Stack], usable: list[Stack]) -> tuple[list[Stack], list[Stack]]:
    """Refuse screen shots and dose reports beside the one volume of a folder."""
    reports = [
        stack
        for stack in usable
        if all(one.position is None and one.header.is_capture for one in stack.frames)
    ]
    others = [stack for stack in usable if stack not in reports]
    if not reports or len(others) != 1:
        return stacks, usable
    said = "a secondary capture without a place is no slice"
    refused = [stack.refused(f"series {stack.series.name}: {said}.") for stack in reports]
    return [stack for stack in stacks if stack not in reports] + refused, others


def _damaged_text(tree: Tree) -> str:
    if not tree.unreadable:
        return ""
    first = tree.unreadable[0]
    return f" ({len(tree.unreadable)} damaged files, the first {first.path}: {first.reason})"


def _listing(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
