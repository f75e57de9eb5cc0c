"""Pairs ``.hdr`` with ``.img``: Analyze 7.5, SPM's kinds of it, and NIfTI-1 in two files.

Analyze keeps no orientation. As nibabel and SPM do, x is taken to run to the patient's left in
the file and the origin to be in the middle, unless SPM's ``.mat`` beside it says.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io.nifti import read_header, read_pair
from tfseg.io.stored import read_samples
from tfseg.volume import Volume

_log = logging.getLogger(__name__)


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a pair by the name of its header; a fourth dimension becomes channels, last.

    Raises:
        DataError: one of the two files is missing or damaged; more voxels than the file holds.
    """
    path = Path(path)
    pixels = _partner(path)
    with path.open("rb") as file:
        header = read_header(file, path)
    if bytes(header["magic"])[:2] == b"ni":
        return read_pair(header, pixels)
    if (header["pixdim"][1:4] < 0).any():
        _log.warning("%s: negative voxel sizes are taken as positive.", path)
    return _analyze(path, pixels)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep nibabel from printing what it mends in a header: we say it, or refuse the header."""
    from nibabel.imageglobals import logger

    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _partner(path: Path) -> Path:
    names = [path.with_suffix(".img"), path.with_suffix(".IMG")]
    pixels = next((name for name in names if name.is_file()), names[0])
    for needed in (path, pixels):
        if not needed.is_file():
            raise DataError(
                f"{needed}: an Analyze volume is a pair .hdr and .img; this is missing."
            )
    return pixels


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused in the end
def _analyze(path: Path, pixels: Path) -> Volume:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        with _quiet():
            image: Any = nibabel.load(path)
        shape = tuple(
            int(size) for size in image.header["dim"][1 : 1 + int(image.header["dim"][0])]
        )
        affine, dtype = np.asarray(image.affine, np.float64), image.get_data_dtype()
        place = image.dataobj
        offset, slope, inter = float(place.offset), float(place.slope), float(place.inter)
    except (
        ImageFileError, HeaderDataError, WrapStructError, OSError, ValueError, OverflowError,
        KeyError, TypeError,
    ) as error:  # fmt: skip
        raise DataError(f"{path}: cannot be read as Analyze ({str(error)[:120]}).") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 4:
        raise DataError(f"{path}: a volume has 2 to 4 dimensions; this file has {shape}.")
    if dtype.kind not in "uif" or not 1 <= dtype.itemsize <= 8:
        raise DataError(f"{path}: voxels must be real numbers; this file stores {dtype}.")
    if not np.isfinite([offset, slope, inter]).all() or offset < 0 or offset % 1:
        raise DataError(
            f"{path}: offset {offset:g}, slope {slope:g} and intercept {inter:g} must be finite "
            "and the first a whole number. Repair the header."
        )
    shape += (1,) * (3 - len(shape))
    stored = read_samples(pixels, int(offset), shape, dtype, "").reshape(shape, order="F")
    if (slope, inter) != (1.0, 0.0):
        stored = (stored * slope + inter).astype(np.float32)
    if not path.with_suffix(".mat").is_file():
        _log.warning(
            "%s: Analyze does not say which side is left; x is taken to run to the left, y to "
            "the front, z upwards.",
            path,
        )
    array = np.ascontiguousarray(stored.transpose(2, 1, 0, *range(3, stored.ndim)))
    affine = geometry.check_affine(geometry.affine_from_ras_xyz(affine), str(path))
    return Volume(array, affine)
