"""The scans that a command is given: files, DICOM folders, and series of those that hold several.

A folder or zip of several patients, studies or series is taken apart, and each volume is a scan of
its own. It is called as `tfseg import-dicom` calls it, with a hash of its study before: nothing of
the name tells of the patient.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg.errors import DataError
from tfseg.io import is_picture, looks_like_dicom, read_volume, volume_stem, volume_suffix
from tfseg.io.suffixes import PICTURES, VOLUMES
from tfseg.volume import Volume

if TYPE_CHECKING:
    from tfseg.io.dicom.headers import Series
    from tfseg.io.dicom.stack import Stack
    from tfseg.io.dicom_out.sources import Source

_NO_IMAGE = "it holds no image of the patient"
_MIXED = "DICOM beside volume files or pictures; put them into a folder of their own:"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Scan:
    """One volume to segment.

    Attributes:
        path: the file or folder that was given.
        stem: what results are called.
        stack: its slices, where ``path`` holds several volumes.
    """

    path: Path
    stem: str
    stack: Stack | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.stem}" if self.stack else str(self.path)

    @property
    def name(self) -> str:
        """The file's or folder's own name, or what tells a part apart."""
        return self.stem if self.is_part else self.path.name

    @property
    def is_part(self) -> bool:
        """Whether others are read from the same place."""
        return self.stack is not None

    @property
    def is_picture(self) -> bool:
        """Whether the file is of a format without millimetres."""
        return not self.is_part and is_picture(self.path)

    def read(self) -> Volume:
        """Return the voxels; see :func:`tfseg.io.read_volume`."""
        if self.stack is None:
            return read_volume(self.path)
        from tfseg.io.dicom import read_stack

        return read_stack(self.path, self.stack)

    def source(self) -> Source:
        """Return what a result in DICOM refers to; see :func:`.dicom_out.sources.read_source`."""
        from tfseg.io.dicom_out.sources import read_source, source_of

        return read_source(self.path) if self.stack is None else source_of(self.path, self.stack)


@dataclass(frozen=True)
class LeftOut:
    """A series beside those that are segmented, by the name of its result, and why it has none."""

    series: str
    reason: str


@contextmanager
def open_scans(
    inputs: Sequence[str | os.PathLike[str]],
) -> Iterator[tuple[list[Scan], list[LeftOut]]]:
    """Yield the scans of files, folders of volume files, and DICOM folders and zips.

    What is read from a zip is there while the block runs.

    Raises:
        DataError: an input does not exist.
    """
    scans: list[Scan] = []
    left: list[LeftOut] = []
    with ExitStack() as stack:
        for given in map(Path, inputs):
            if not given.exists():
                raise DataError(f"{given}: there is no such file or folder. Check the path.")
            files = _files(given) if given.is_dir() else []
            if not files and (given.is_dir() or volume_suffix(given) == ".zip"):
                parts = _parts(given, stack, left)
                scans += parts or [Scan(given, volume_stem(given))]
            else:
                scans += [Scan(file, volume_stem(file)) for file in files or [given]]
                if files and (found := _dicom_among(given, files)):
                    left.append(LeftOut(found.name, f"{_MIXED} {given}"))
        yield scans, left


def _files(folder: Path) -> list[Path]:
    return sorted(
        child
        for child in folder.iterdir()
        if volume_suffix(child) in (*VOLUMES, *PICTURES) and not child.name.startswith(".")
    )


def _dicom_among(folder: Path, files: Sequence[Path]) -> Path | None:
    """Return the first DICOM file of a folder of volume files."""
    taken = set(files)
    others = (path for path in sorted(folder.iterdir()) if path not in taken and path.is_file())
    return next((path for path in others if looks_like_dicom(path)), None)


def _parts(given: Path, stack: ExitStack, left: list[LeftOut]) -> list[Scan]:
    """Return the volumes of a DICOM folder or zip that holds several; else nothing.

    One that holds a single volume, or none, is read when its turn comes, and refused then; what
    lies beside a single one is left out.
    """
    from tfseg.io.dicom import opened, scan_tree, split_all

    with ExitStack() as own:
        try:
            tree = scan_tree(own.enter_context(opened(given)))
        except DataError:
            return []
        images = [series for series in tree.series if series.is_image]
        stacks = split_all(images)
        usable = [one for one in stacks if one.refusal is None]
        refused = [LeftOut(_stem(one), one.refusal) for one in stacks if one.refusal and usable]
        if len(usable) < 2:
            left += refused
            return []
        stack.push(own.pop_all())
    for broken in tree.unreadable:
        _log.warning("%s: skipped damaged file %s: %s", given, broken.path, broken.reason)
    left += [
        LeftOut(f"{_study(series)}_{series.modality}-{series.number}-{series.identity}", _NO_IMAGE)
        for series in tree.series
        if not series.is_image
    ]
    left += refused
    names: dict[str, int] = {}
    scans = []
    for one in usable:
        stem = _stem(one)
        count = names[stem.lower()] = names.get(stem.lower(), 0) + 1
        scans.append(Scan(given, stem if count == 1 else f"{stem}-{count}", one))
    return scans


def _stem(stack: Stack) -> str:
    from tfseg.io.dicom.convert import private_of, stem_of

    private, number = private_of(stack), stack.series.number
    stem = stem_of(stack, private.clean(stack.label), None if private.holds(number) else number)
    return f"{_study(stack.series)}_{stem}"


def _study(series: Series) -> str:
    """Return a hash of the study: eight characters that say nothing about the patient."""
    return hashlib.sha256(series.headers[0].study_uid.encode()).hexdigest()[:8]


def suffix_for(scan: Scan) -> str:
    """Return the suffix of a scan's label map in a folder: ``.png`` for pictures."""
    return ".png" if volume_suffix(scan.path) in PICTURES and not scan.is_part else ".nii.gz"


def refuse_nothing_written(written: Sequence[object], left: Sequence[LeftOut]) -> None:
    """Fail where everything was left out.

    Raises:
        DataError: nothing was written.
    """
    if left and not written:
        last = left[-1]
        raise DataError(
            f"none of {len(left)} series was segmented; the last, {last.series}: {last.reason}."
        )
