"""DICOM series of single-frame slices, as scanners store CT, MR and PET (PS3.3 C.7.6.2).

Where voxels are comes from ImagePositionPatient, ImageOrientationPatient and PixelSpacing
alone: never from file names, file order or SliceThickness. A series whose slices do not make
one regular, complete, upright stack is refused with the rule that it breaks.
"""

from __future__ import annotations

import os
from pathlib import Path

from tfseg.errors import DataError
from tfseg.io.dicom.grid import stack
from tfseg.io.dicom.headers import Series, Tree, read_header, scan_tree
from tfseg.io.dicom.pixels import decode
from tfseg.volume import Volume

__all__ = ["Series", "Tree", "list_series", "read", "read_series", "scan_tree"]


def list_series(folder: str | os.PathLike[str]) -> tuple[Series, ...]:
    """Return every series below a folder, in the order of their numbers; no pixels are read.

    Raises:
        DataError: no such folder.
    """
    return scan_tree(folder).series


def read(path: str | os.PathLike[str], series_uid: str | None = None) -> Volume:
    """Read the one image series below a folder, or one DICOM file as a slice.

    Args:
        path: a folder of any depth with any file names, or a file.
        series_uid: SeriesInstanceUID of the series to read where the folder holds several.

    Raises:
        DataError: no DICOM there, damaged files, several series and none chosen, or a series
            that is no regular stack (see :func:`read_series`).
    """
    path = Path(path)
    if path.is_file():
        header = read_header(path)
        if header is None:
            raise DataError(
                f"{path}: no DICOM file: bytes 128 to 131 must be DICM. Check the file."
            )
        return read_series(Series((header,)), f"{path}")
    tree = scan_tree(path)
    if tree.unreadable:
        raise DataError(  # it may be a slice of the series: without it the volume is too short
            f"{tree.unreadable[0].reason} ({len(tree.unreadable)} damaged files in {path})"
        )
    if series_uid is not None:
        for series in tree.series:
            if series.uid == series_uid:
                return read_series(series, f"{path}: series {series.name}")
        raise DataError(
            f"{path}: no series {series_uid}. The folder holds {_listing(tree.series)}."
        )
    images = [series for series in tree.series if series.is_image]
    if len(images) == 1:
        return read_series(images[0], f"{path}: series {images[0].name}")
    if images:
        raise DataError(
            f"{path}: one series is needed; the folder holds {_listing(tuple(images))}. "
            "Choose the folder of one, or convert all with `tfseg import-dicom`."
        )
    found = _listing(tree.series) if tree.series else f"{tree.skipped} files, none of them DICOM"
    raise DataError(f"{path}: a DICOM image series is needed; found {found}.")


def read_series(series: Series, what: str = "") -> Volume:
    """Read a listed series: slices in the order of their positions, values rescaled.

    Rescale slope and intercept are applied slice by slice; MONOCHROME1 is inverted, so more is
    always brighter. Integers stay integers where slope and intercept allow it.

    Args:
        series: from :func:`list_series`.
        what: what messages call the series; modality and number by default.

    Raises:
        DataError: localizer, mosaic, multi-frame or colour images; slices that differ in size
            or orientation, lie at one place, are missing, unevenly spaced or tilted; pixels
            that cannot be decoded.
    """
    what = what or f"series {series.name}"
    ordered, affine = stack(series, what)
    return Volume(decode(ordered, what), affine, series.modality)


def _listing(series: tuple[Series, ...], most: int = 5) -> str:
    named = [f"{one.name} ({len(one.headers)} files, uid {one.uid})" for one in series[:most]]
    more = f" and {len(series) - most} more" if len(series) > most else ""
    return f"{len(series)} series: {', '.join(named)}{more}"
