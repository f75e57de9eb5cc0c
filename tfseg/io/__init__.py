"""Reading and writing volumes: one module a format, chosen here by the path.

Every reader returns a :class:`tfseg.volume.Volume` (z, y, x in LPS) and raises
:class:`tfseg.errors.DataError` with one line when it cannot; every writer is atomic.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.suffixes import ANALYZE, DICOM, METAIMAGE, NIFTI, NRRD, PICTURES, READ
from tfseg.volume import Volume


def volume_suffixes() -> tuple[str, ...]:
    """Return every file name suffix that :func:`read_volume` knows, in lower case."""
    return READ


def volume_suffix(path: str | os.PathLike[str]) -> str:
    """Return the known suffix that ``path`` ends with, in lower case, or an empty string."""
    name = Path(path).name.lower()
    return max(
        (suffix for suffix in volume_suffixes() if name.endswith(suffix)), key=len, default=""
    )


def volume_stem(path: str | os.PathLike[str]) -> str:
    """Return the file or folder name of ``path`` without the suffix that tells the format.

    3D Slicer's segmentations end in ``.seg.nrrd``, of which all is the suffix here.
    """
    name, suffix = Path(path).name, volume_suffix(path)
    stem = name[: len(name) - len(suffix)]
    return stem.removesuffix(".seg") if suffix in NRRD else stem


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a picture by its name: a format that has no millimetres."""
    return volume_suffix(path) in PICTURES


def read_volume(
    path: str | os.PathLike[str], *, allow_2d: bool = True, labels: bool = False
) -> Volume:
    """Read a volume from a file, or from a folder or zip that holds one DICOM volume.

    Args:
        path: NIfTI (``.nii``, ``.nii.gz``), MetaImage (``.mha``, ``.mhd``), NRRD (``.nrrd``,
            ``.nhdr``), Analyze (``.hdr``), a picture (PNG, JPEG, TIFF, GIF, BMP, PPM, PGM: one
            slice at 1 mm), a DICOM file, or a DICOM folder.
        allow_2d: ``False`` refuses pictures, which say nothing about millimetres.
        labels: it is a label map: of pictures with a palette the stored number counts, not the
            colour, and lossy ones are refused. Floats that are whole but for rounding are
            rounded; others stay, for the caller to refuse.

    Raises:
        DataError: the file is missing, unreadable or of an unknown format.
    """
    path = Path(path)
    if labels:
        volume = _read(path, allow_2d=allow_2d, labels=True)
        return volume.with_array(whole(volume.array))
    return _read(path, allow_2d=allow_2d, labels=False)


def whole(stored: NDArray[Any]) -> NDArray[Any]:
    """Return label values with those rounded that a scale factor or a cast has left beside a
    whole number: by at most 1e-4, or a millionth of large ones.
    """
    if stored.dtype.kind != "f":
        return stored
    nearest = np.rint(stored)
    with np.errstate(invalid="ignore"):  # infinities stay as they are
        near = np.abs(stored - nearest) <= np.maximum(1e-4, 1e-6 * np.abs(nearest))
    return np.where(near, nearest, stored)


def _read(path: Path, *, allow_2d: bool, labels: bool) -> Volume:
    suffix = volume_suffix(path)
    if path.is_dir():
        from tfseg.io import dicom

        return dicom.read(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder. Check the path.")
    if suffix in NIFTI:
        from tfseg.io import nifti

        return nifti.read(path)
    if suffix in METAIMAGE:
        from tfseg.io import metaimage

        return metaimage.read(path)
    if suffix in NRRD:
        from tfseg.io import nrrd

        return nrrd.read(path)
    if suffix in ANALYZE:
        from tfseg.io import analyze

        return analyze.read(path)
    if suffix in PICTURES:
        if not allow_2d:
            raise DataError(f"{path}: a volume is needed; a {suffix} picture has no millimetres.")
        from tfseg.io import image2d

        return image2d.read(path, labels=labels)
    if suffix in DICOM or not path.suffix or looks_like_dicom(path):
        from tfseg.io import dicom

        return dicom.read(path)
    raise DataError(
        f"{path}: unknown format {path.suffix!r}. Readable: {', '.join(volume_suffixes())}, "
        "and folders of DICOM files."
    )


def write_volume(
    volume: Volume,
    path: str | os.PathLike[str],
    names: Sequence[str] = (),
    colours: Sequence[tuple[int, int, int]] = (),
) -> None:
    """Write a volume; the suffix chooses the format: NIfTI, MetaImage, NRRD, or PNG for a slice.

    Args:
        volume: what to write; ``.seg.nrrd`` takes label maps alone.
        path: the file.
        names, colours: of label values, for ``.seg.nrrd``; see :func:`.segments.write_segments`.

    Raises:
        DataError: another suffix, a volume that the format cannot hold, or a failing disk.
    """
    suffix = volume_suffix(path)
    if suffix in NIFTI:
        from tfseg.io import nifti

        nifti.write(volume, path)
    elif suffix == ".mha":
        from tfseg.io import metaimage

        metaimage.write(volume, path)
    elif Path(path).name.lower().endswith(".seg.nrrd"):
        from tfseg.io import segments

        segments.write_segments(volume, path, names, colours)
    elif suffix == ".nrrd":
        from tfseg.io import nrrd

        nrrd.write(volume, path)
    elif suffix == ".png":
        from tfseg.io import image2d

        image2d.write(volume, path)
    else:
        raise DataError(
            f"{path}: volumes are written as .nii.gz, .nii, .mha, .nrrd or .png (one slice); "
            f"got suffix {Path(path).suffix!r}."
        )


def looks_like_dicom(path: Path) -> bool:
    """Tell whether a file has the heading of DICOM's file format."""
    # Names such as 1.2.840.113619.2.5 have a "suffix" that means nothing (PS3.10 7.1: 128
    # bytes of preamble, then DICM).
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
