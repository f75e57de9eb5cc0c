"""DICOM files found in a tree, their headers read once and in parallel, grouped into series."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfseg.errors import DataError
from tfseg.io.dicom.belong import in_order, parted
from tfseg.io.dicom.damage import IrregularError, reason
from tfseg.io.dicom.elements import read_elements
from tfseg.io.dicom.frames import (
    DERIVED_OBJECTS,
    Frame,
    Header,
    header_of,
    single_frame,
    spare_bytes,
)
from tfseg.io.dicom.measures import measured

_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR, not an instance
_SIGNED = ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue")
_THREADS = 4  # for latency of disks and network shares, not for cores


@dataclass(frozen=True)
class Series:
    """The files of one series, in an order that follows from what they say.

    Attributes:
        sheets: each file's header with its first frame as the file's own elements place it;
            :mod:`.split` takes multi-frame files and mosaics apart.
        label: what tells it apart from others with its UID, e.g. ``patient 2``; empty where it
            is alone.
        said: sentences on what made it a series, if not its UID alone.
    """

    sheets: tuple[Frame, ...] = field(repr=False)
    label: str = ""
    said: tuple[str, ...] = ()

    @property
    def headers(self) -> tuple[Header, ...]:
        """The files."""
        return tuple(sheet.header for sheet in self.sheets)

    @property
    def uid(self) -> str:
        """SeriesInstanceUID; empty where the files have none (they share a folder then)."""
        return self.sheets[0].header.series_uid

    @property
    def identity(self) -> str:
        """Eight characters that tell series apart and say nothing about the patient."""
        uids = sorted(sheet.header.instance_uid for sheet in self.sheets)
        text = self.uid or f"{self.sheets[0].header.study_uid} {self.number} {uids[0]}"
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def modality(self) -> str:
        """DICOM's code, e.g. ``CT``."""
        return self.sheets[0].header.modality

    @property
    def number(self) -> int:
        """SeriesNumber; 0 where there is none."""
        return self.sheets[0].header.number

    @property
    def description(self) -> str:
        """SeriesDescription; empty where absent."""
        return self.sheets[0].header.description

    @property
    def name(self) -> str:
        """Modality and number, e.g. ``MR 11``."""
        return f"{self.modality} {self.number}"

    @property
    def is_image(self) -> bool:
        """Whether it holds pictures of the patient, and not objects derived from them."""
        return self.modality not in DERIVED_OBJECTS and any(
            sheet.header.rows > 0 for sheet in self.sheets
        )


@dataclass(frozen=True)
class Unreadable:
    """A DICOM file whose header cannot be used.

    Attributes:
        path: the file, below the folder that was searched.
        reason: why, on one line, without the path, which may name the patient.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Tree:
    """What a folder or a file holds.

    Attributes:
        series: ordered by number, then UID.
        skipped: number of files that are no DICOM, and of DICOMDIR files.
        unreadable: DICOM files with broken headers.
    """

    series: tuple[Series, ...]
    skipped: int
    unreadable: tuple[Unreadable, ...]


def scan_tree(source: str | os.PathLike[str]) -> Tree:
    """Read the header of every DICOM file below a folder, or of one file.

    Names and depth mean nothing; DICOMDIR files are skipped, since what they list is found
    anyway.

    Raises:
        DataError: no such folder or file.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder. Check the path.")
    paths = [source] if source.is_file() else _files(source)
    groups: dict[tuple[str, ...], list[Frame]] = {}
    skipped, unreadable = 0, []
    with ThreadPoolExecutor(_THREADS) as pool:
        for found in pool.map(_try_header, paths):
            if found is None:
                skipped += 1
            elif isinstance(found, Unreadable):
                base = source.parent if source.is_file() else source
                unreadable.append(Unreadable(found.path.relative_to(base), found.reason))
            else:
                groups.setdefault(_group(found.header), []).append(found)
    found_series = (one for group in groups.values() for one in _series(group))
    series = sorted(found_series, key=_order)
    return Tree(tuple(series), skipped, tuple(unreadable))


def read_header(path: Path) -> Frame | None:
    """Return the header of a file, or ``None`` when it is no DICOM or a DICOMDIR.

    Raises:
        DataError: the file cannot be read or its header cannot be parsed.
    """
    try:
        with path.open("rb", buffering=0) as file:
            elements = read_elements(file)
        if elements is None or elements.media_class == _DIRECTORY:
            return None
        if not elements.values:
            raise DataError(f"{path}: the DICOM header is cut off or empty. Copy the file again.")
        header = header_of(path, elements)
        frame = measured(single_frame(header, elements), elements)
        remarks = frame.remarks
        if spare := spare_bytes(header):
            remarks = (*remarks, f"{spare} bytes follow the pixels: left out")
        negative = [keyword for keyword in _SIGNED if keyword in elements]
        if negative and not header.signed:
            remarks = (
                *remarks,
                f"{negative[0]} is negative, and PixelRepresentation says that pixels are not "
                "signed: that is taken",
            )
        return replace(frame, remarks=remarks)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except IrregularError as error:
        raise DataError(
            f"{path}: {error}. Correct the header, or export the file again."
        ) from error
    except (ValueError, OverflowError, struct.error, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path}: the DICOM header is damaged ({reason(error)}). Copy it again."
        ) from error


def _try_header(path: Path) -> Frame | Unreadable | None:
    try:
        return read_header(path)
    except DataError as error:
        return Unreadable(path, str(error).removeprefix(f"{path}: "))


def _group(header: Header) -> tuple[str, ...]:
    # Careless anonymisers drop the UID, which is mandatory: then a folder is a series, or it may
    # hold several.
    return (header.series_uid or str(header.path.parent), header.modality)


def _series(group: list[Frame]) -> list[Series]:
    """Return the series in files of one SeriesInstanceUID and modality."""
    guess = () if group[0].header.series_uid else (
        "no SeriesInstanceUID: files of one folder, patient, study, number and frame of reference "
        "are taken as a series",
    )  # fmt: skip
    return [
        Series(tuple(files), label, (*guess, *said))
        for files, label, said in parted(in_order(group))
    ]


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():  # pipes and sockets would block
                yield path


def _order(series: Series) -> tuple[int, str, str, str]:
    return series.number, series.uid, series.label, series.identity
