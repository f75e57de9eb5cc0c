"""DICOM headers: found in a tree of files, read once, grouped into series.

Only the elements named here are kept, none of them about the patient.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfseg.errors import DataError

_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "Modality", "ImageType",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing",
    "SpacingBetweenSlices", "SliceThickness", "NumberOfFrames", "SamplesPerPixel", "Rows",
    "Columns", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PlanarConfiguration", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
]  # fmt: skip
_DEFER_BYTES = 1024  # longer values, the pixels, stay in the file until they are asked for
_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR, not an instance
DERIVED_OBJECTS = {"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "DOC"}
_THREADS = 8  # for latency of disks and network shares, not for cores


@dataclass(frozen=True, slots=True)
class Header:
    """One DICOM file without its pixels.

    Attributes:
        path: the file.
        dataset: the elements listed above; pixels are read from the file when accessed.
        position: ImagePositionPatient, LPS mm, or ``None``.
        orientation: ImageOrientationPatient: direction of a row, then of a column; or ``None``.
        spacing: PixelSpacing (between rows, between columns) in mm; ImagerPixelSpacing, the
            size at the detector, for projections; or ``None``.
        inverted: whether less is brighter (MONOCHROME1).
        slope, intercept: from stored values to the modality's unit.
        thickness_mm: SpacingBetweenSlices or SliceThickness: used for a lone slice only.
    """

    path: Path
    dataset: Any
    series_uid: str
    modality: str
    number: int
    instance: int
    rows: int
    columns: int
    frames: int
    samples: int
    inverted: bool
    slope: float
    intercept: float
    image_type: tuple[str, ...]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness_mm: float | None

    @property
    def name(self) -> str:
        """What messages call it: by its InstanceNumber, since file names may name patients."""
        return f"image {self.instance}"


@dataclass(frozen=True)
class Series:
    """The files of one series, in the order they were found."""

    headers: tuple[Header, ...] = field(repr=False)

    @property
    def uid(self) -> str:
        """SeriesInstanceUID; empty where the files have none (they share a folder then)."""
        return self.headers[0].series_uid

    @property
    def modality(self) -> str:
        """DICOM's code, e.g. ``CT``."""
        return self.headers[0].modality

    @property
    def number(self) -> int:
        """SeriesNumber; 0 where there is none."""
        return self.headers[0].number

    @property
    def name(self) -> str:
        """Modality and number, e.g. ``MR 11``."""
        return f"{self.modality} {self.number}"

    @property
    def is_image(self) -> bool:
        """Whether it holds pictures of the patient, and not objects derived from them."""
        return self.modality not in DERIVED_OBJECTS and self.headers[0].rows > 0


@dataclass(frozen=True)
class Unreadable:
    """A DICOM file whose header cannot be used, and why, in one line."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Tree:
    """What a folder holds.

    Attributes:
        series: ordered by number, then UID.
        skipped: number of files that are no DICOM.
        unreadable: DICOM files with broken headers.
    """

    series: tuple[Series, ...]
    skipped: int
    unreadable: tuple[Unreadable, ...]


def scan_tree(folder: str | os.PathLike[str]) -> Tree:
    """Read the header of every DICOM file below a folder; names and depth mean nothing.

    Raises:
        DataError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder. Check the path.")
    groups: dict[tuple[str, ...], list[Header]] = {}
    skipped, unreadable = 0, []
    with lenient(), ThreadPoolExecutor(_THREADS) as pool:
        for found in pool.map(_try_header, _files(folder)):
            if found is None:
                skipped += 1
            elif isinstance(found, Unreadable):
                unreadable.append(found)
            else:
                groups.setdefault(_group(found), []).append(found)
    series = sorted((Series(tuple(group)) for group in groups.values()), key=_order)
    return Tree(tuple(series), skipped, tuple(unreadable))


def read_header(path: Path) -> Header | None:
    """Return the header of a file, or ``None`` when it is no DICOM or a DICOMDIR.

    Raises:
        DataError: the file cannot be read or its header cannot be parsed.
    """
    with lenient():
        return _read_header(path)


def damage() -> tuple[type[Exception], ...]:
    """Return what pydicom and its decoders raise on broken elements and pixel data."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError,
        RuntimeError, TypeError, ValueError, struct.error, zlib.error, BytesLengthException,
        InvalidDicomError,
    )  # fmt: skip


@contextmanager
def lenient() -> Iterator[None]:
    """Silence pydicom's remarks on irregular values: what matters is checked here, with words.

    The settings are of the whole process, so this is entered once, around the threads.
    """
    from pydicom import config

    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _read_header(path: Path) -> Header | None:
    import pydicom

    try:
        with path.open("rb") as file:
            # PS3.10 7.1: a preamble of 128 bytes, then the prefix.
            if file.read(132)[128:] != b"DICM":
                return None
        dataset = pydicom.dcmread(path, defer_size=_DEFER_BYTES, specific_tags=_TAGS)
        if dataset.get("SOPClassUID") == _DIRECTORY:
            return None
        return _header(path, dataset)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except damage() as error:
        text = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: the DICOM header is damaged ({text}). Copy it again.") from error


def _header(path: Path, dataset: Any) -> Header:
    if not len(dataset):
        raise DataError(f"{path}: the DICOM header is cut off or empty. Copy the file again.")
    spacing = _floats(dataset, "PixelSpacing", 2) or _floats(dataset, "ImagerPixelSpacing", 2)
    thickness = dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness")
    return Header(
        path=path,
        dataset=dataset,
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        modality=str(dataset.get("Modality") or "OT"),
        number=int(dataset.get("SeriesNumber") or 0),
        instance=int(dataset.get("InstanceNumber") or 0),
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        inverted=dataset.get("PhotometricInterpretation") == "MONOCHROME1",
        slope=_number(dataset, "RescaleSlope", 1.0),
        intercept=_number(dataset, "RescaleIntercept", 0.0),
        image_type=tuple(str(part) for part in dataset.get("ImageType") or ()),
        position=_floats(dataset, "ImagePositionPatient", 3),
        orientation=_floats(dataset, "ImageOrientationPatient", 6),
        spacing=spacing,
        thickness_mm=abs(float(thickness)) if thickness else None,
    )


def _number(dataset: Any, keyword: str, default: float) -> float:
    value = dataset.get(keyword)
    return default if value is None else float(value)


def _floats(dataset: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    value = dataset.get(keyword)
    if value is None or isinstance(value, str) or len(value) != count:
        return None
    return tuple(float(number) for number in value)


def _try_header(path: Path) -> Header | Unreadable | None:
    try:
        return _read_header(path)
    except DataError as error:
        return Unreadable(path, str(error))


def _group(header: Header) -> tuple[str, ...]:
    # Careless anonymisers drop the UID, which is mandatory: then a folder is a series.
    if header.series_uid:
        return (header.series_uid,)
    return (str(header.path.parent), header.modality, str(header.number))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name)


def _order(series: Series) -> tuple[int, str]:
    return series.number, series.uid
