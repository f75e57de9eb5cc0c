"""The one Segmentation or structure set at a place."""

from __future__ import annotations

from pathlib import Path

from tfseg.errors import DataError
from tfseg.io.dicom import scan_tree


def one_file(place: Path, path: Path, modality: str) -> Path:
    """Return the one file of a modality at a place, which is that file or a folder.

    Args:
        place: where to look.
        path: what messages call it.
        modality: ``SEG`` or ``RTSTRUCT``.

    Raises:
        DataError: a folder with none, or several.
    """
    if place.is_file():
        return place
    files = [
        header.path
        for series in scan_tree(place).series
        if series.modality == modality
        for header in series.headers
    ]
    if len(files) != 1:
        raise DataError(
            f"{path}: one {modality} file is needed; the folder holds {len(files)}. Name the file."
        )
    return files[0]
