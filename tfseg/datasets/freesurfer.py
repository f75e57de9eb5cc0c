"""FreeSurfer's volumes (``.mgh``, ``.mgz``) and the tissues of its label map ``aseg``.

Format: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat; values: FreeSurfer's
colour table (FreeSurferColorLUT.txt). nibabel reads the header; sizes are checked before.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io.stored import Stream, Unpacked
from tfseg.volume import Volume

TISSUES = ("cerebrospinal_fluid", "gray_matter", "white_matter")

# Each pair is the left and the right side.
_FLUID = (4, 43, 5, 44, 14, 15, 24, 31, 63, 72, 122)  # ventricles, choroid plexus
_GRAY = (
    *(3, 42),  # cerebral cortex
    *(8, 47),  # cerebellar cortex
    *(9, 48, 10, 49),  # thalamus
    *(11, 50, 12, 51, 13, 52),  # caudate, putamen, pallidum
    *(17, 53, 18, 54, 26, 58),  # hippocampus, amygdala, accumbens
    *(27, 59, 28, 60),  # substantia nigra, ventral diencephalon
    *(80, 81, 82),  # hypointensities outside of white matter
)
_WHITE = (
    *(2, 41),  # cerebral white matter
    *(7, 46),  # cerebellar white matter
    16,  # brain stem
    *(77, 78, 79),  # hypointensities in white matter
    *(85, 192, 251, 252, 253, 254, 255),  # optic chiasm, corpus callosum
)
_OUTSIDE = (0, 1, 40, 6, 45, 29, 61, 30, 62)  # exterior, undetermined, vessels
ASEG_TISSUES = {
    value: tissue
    for tissue, values in enumerate((_OUTSIDE, _FLUID, _GRAY, _WHITE))
    for value in values
}

_HEADER = struct.Struct(">7i")  # version, x, y, z, frames, type, degrees of freedom
_HEADER_BYTES = 284
_TYPES = {0: 1, 1: 4, 3: 4, 4: 2, 10: 2}  # uint8, int32, float32, int16, uint16: bytes of each
_MOST_TAGS = 1 << 24  # bytes after the voxels: the commands that made the file
_DEFLATE_MAX_RATIO = 1032  # the most that DEFLATE can shrink (RFC 1951)


def read(path: Path) -> Volume:
    """Read a volume of FreeSurfer; a fourth dimension becomes channels, last.

    Raises:
        DataError: missing, damaged, no such volume, or sizes that the file cannot hold.
    """
    from nibabel.freesurfer.mghformat import MGHImage

    content = _content(path)
    try:
        # What is not finite in a damaged header is refused below.
        with np.errstate(all="ignore"):
            image = MGHImage.from_bytes(content)
            affine = geometry.affine_from_ras_xyz(np.asarray(image.affine, np.float64))
        array = np.asanyarray(image.dataobj)
    except (ValueError, OSError, TypeError) as error:  # nibabel's own errors are ValueErrors
        raise DataError(f"{path}: cannot be read as a FreeSurfer volume ({error}).") from error
    affine = geometry.check_affine(affine, str(path))
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    voxels: NDArray[Any] = array.astype(array.dtype.newbyteorder("="))
    return Volume(voxels.transpose(2, 1, 0, *range(3, voxels.ndim)), affine)


def _content(path: Path) -> bytes:
    """Return the unpacked file after checking that it holds what its header says."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream: Stream = Unpacked(file, path, "gzip") if packed else file
            start = _take(stream, _HEADER_BYTES)
            needed = _needed(start, path)
            size = path.stat().st_size
            if needed > size * (_DEFLATE_MAX_RATIO if packed else 1):
                raise DataError(
                    f"{path}: the header tells of {needed} bytes, more than a file of {size} "
                    "bytes holds. It is truncated or its header is broken."
                )
            content = start + _take(stream, needed - len(start) + _MOST_TAGS)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}). Copy it again.") from error
    if len(content) < needed:
        raise DataError(
            f"{path}: truncated: {needed} bytes expected, {len(content)} found. Copy it again."
        )
    return content


def _take(stream: Stream, count: int) -> bytes:
    """Return up to ``count`` bytes; at the end of a compressed file its checksum is compared."""
    content = bytearray()
    while len(content) < count and (more := stream.read(min(1 << 20, count - len(content)))):
        content += more
    return bytes(content)


def _needed(start: bytes, path: Path) -> int:
    """Return the bytes of header and voxels."""
    version, *sizes, kind, _ = _HEADER.unpack(start[:28]) if len(start) >= 28 else (0,) * 7
    if version != 1 or kind not in _TYPES or min(sizes) < 1:
        raise DataError(f"{path}: no FreeSurfer volume (version 1), or a damaged one.")
    return _HEADER_BYTES + math.prod(sizes) * _TYPES[kind]
