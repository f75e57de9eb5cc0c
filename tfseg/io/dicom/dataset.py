"""Headers that take more than :mod:`.elements`, read by pydicom: whole data sets, and sequences."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfseg.errors import DataError
from tfseg.io.dicom.charsets import standard_name
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.elements import start_of_meta

if TYPE_CHECKING:
    from pydicom import Dataset

_LONGEST_NAME = 32  # of a character set: the standard's have at most 16


def read_dataset(
    path: Path, *, keywords: Sequence[str | int] | None = None, pixels: bool = False
) -> Dataset:
    """Read a file with pydicom, whatever stands before its data set.

    Text is decoded as :func:`.charsets.decoded` does it, also where SpecificCharacterSet is
    misspelt.

    Args:
        path: the file.
        keywords: names, or numbers of private elements, to read; ``None`` reads all.
        pixels: whether to read on where the pixels begin.

    Raises:
        Exception: one of those of :func:`.damage.damage`.
    """
    import pydicom

    def read() -> Dataset:
        return pydicom.dcmread(
            _for_pydicom(path),
            stop_before_pixels=not pixels,
            specific_tags=None if keywords is None else list(keywords),
            force=True,
        )

    dataset = read()
    # Items of sequences are decoded as they are read, so they are read once more.
    return read() if _new_spellings(dataset) else dataset


def _new_spellings(dataset: Dataset) -> bool:
    """Add misspelt names of character sets to those that pydicom knows; tell whether some were."""
    from pydicom.charset import python_encoding

    value = dataset.get("SpecificCharacterSet") or ""
    added = False
    for given in [value] if isinstance(value, str) else list(value):
        known = python_encoding.get(standard_name(given))
        if known is not None and given not in python_encoding and len(given) <= _LONGEST_NAME:
            python_encoding[given] = known
            added = True
    return added


def _for_pydicom(path: Path) -> Path | io.BytesIO:
    """Return what pydicom can read of a file: it takes one that begins with DICM for a data set."""
    with path.open("rb") as file:
        if start_of_meta(file.read(140)) != 4:
            return path
        file.seek(0)
        return io.BytesIO(bytes(128) + file.read())


def sequences(path: Path, name: str, keywords: Sequence[str | int]) -> Any:
    """Read whole elements, sequences among them.

    Args:
        path: the file.
        name: what messages call it: the path may name the patient.
        keywords: names, or numbers of private elements.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with lenient():
            dataset = read_dataset(path, keywords=keywords)
            for keyword in keywords:
                dataset.get(keyword)  # values are parsed when they are first asked for
            return dataset
    except damage() as error:
        text = reason(error).replace(str(path), "the file")
        raise DataError(f"{name}: the DICOM header is damaged ({text}).") from error
