"""Analyze 7.5 pairs (``.hdr`` with ``.img``), read through nibabel.

The format keeps no orientation. As nibabel and SPM do, x is taken to run to the patient's left
in the file and the origin to be in the middle, unless a pair is NIfTI-1 in truth, which says.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.volume import Volume

SUFFIXES = (".hdr",)

_MAX_VOXELS = 2**31


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a pair by the name of its header; a fourth dimension becomes channels, last.

    Raises:
        DataError: one of the two files is missing or damaged; more voxels than the file holds.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    path = Path(path)
    pixels = path.with_suffix(".img")
    for needed in (path, pixels):
        if not needed.is_file():
            raise DataError(
                f"{needed}: an Analyze volume is a pair .hdr and .img; this is missing."
            )
    try:
        image = nibabel.load(path)
        shape = image.shape
        size = image.get_data_dtype().itemsize * int(np.prod(shape, dtype=np.int64))
        if len(shape) not in {3, 4} or int(np.prod(shape, dtype=np.int64)) > _MAX_VOXELS:
            raise DataError(f"{path}: must have 3 or 4 dimensions of at most 2**31 voxels.")
        if pixels.stat().st_size < size:
            raise DataError(
                f"{pixels}: too short: the header tells of {size} bytes; it has "
                f"{pixels.stat().st_size}. Copy it again."
            )
        array = np.asanyarray(image.dataobj)
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as Analyze or NIfTI pair ({error}).") from error
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    affine = geometry.affine_from_ras_xyz(np.asarray(image.affine, np.float64))
    return Volume(np.ascontiguousarray(array.transpose(2, 1, 0, *range(3, array.ndim))), affine)
