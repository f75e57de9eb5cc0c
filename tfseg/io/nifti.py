"""NIfTI-1 and NIfTI-2 files (``.nii``, ``.nii.gz``): nibabel's headers, our own bounded read.

NIfTI indexes (x, y, z[, c]) and places voxels in RAS; both are converted here and nowhere else.
The header's rules are those of https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.volume import Volume

SUFFIXES = (".nii", ".nii.gz")

MAX_VOXELS = 2**33  # sixteen times a 1024 x 1024 x 512 CT: beyond this a header is not believed
_DEFLATE_MAX_RATIO = 1032  # the most that DEFLATE can shrink: 258 bytes to 2 bits (RFC 1951)
_GZIP_LEVEL = 4  # two thirds of level 9's time go into the last 2 % of the size
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT: coordinates of the scanner
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # NIFTI_UNITS_METER, _MICRON; all else is taken as mm
_SPACE_UNITS = 0x07  # the bits of xyzt_units that tell the unit of length
_MAX_NIFTI1_SIZE = 32767  # NIfTI-1 keeps sizes as int16


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a volume; 4D files give channels last, in the file's order.

    ``scl_slope`` and ``scl_inter`` are applied (float32 then, else the stored dtype). The sform
    wins over the qform. Compression is recognised by content, and its checksum is verified.

    Raises:
        DataError: missing, empty, truncated or corrupt; no NIfTI; more than 4 dimensions;
            complex or RGB voxels; sizes that the file cannot hold; an unusable affine.
    """
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(2)
            file.seek(0)
            compressed = magic == b"\x1f\x8b"
            stream: Any = gzip.GzipFile(fileobj=file) if compressed else file
            header = _read_header(stream, path)
            raw = _read_voxels(stream, header, path, compressed)
            while compressed and stream.read(1 << 20):
                pass  # to the end, where gzip compares its checksum
        affine = _affine(header, path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a NIfTI volume must be a file; this is a folder.") from None
    except EOFError:
        raise DataError(f"{path}: the gzip data end too early. Copy the file again.") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip data are corrupt ({error}). Copy it again.") from error
    except (HeaderDataError, WrapStructError) as error:
        raise DataError(f"{path}: the NIfTI header is not valid ({error}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return Volume(_scaled(raw, header).transpose(2, 1, 0, *range(3, raw.ndim)), affine)


def write(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write a volume in its own dtype (bool as uint8) with its exact affine.

    The affine goes into the sform (float32, as NIfTI-1 keeps it) and, unless the grid is
    sheared, into the qform too, both with the scanner code. Equal volumes give equal bytes.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    import nibabel as nib

    array = volume.array
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)  # NIfTI has no 16-bit float
    array = array.transpose(2, 1, 0, *range(3, array.ndim))
    kind = nib.Nifti1Image if max(array.shape) <= _MAX_NIFTI1_SIZE else nib.Nifti2Image
    affine = geometry.affine_to_ras_xyz(volume.affine)
    image = kind(array, affine, dtype=array.dtype)
    image.set_sform(affine, _SCANNER)
    direction = volume.direction
    sheared = not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4)
    image.set_qform(affine, 0 if sheared else _SCANNER)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if temporary.name.lower().endswith(".gz"):
            # No name and no time in the gzip header: the same volume gives the same file.
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, fileobj=file, mtime=0) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def _read_header(stream: BinaryIO, path: Path) -> Any:
    import nibabel as nib

    start = stream.read(4)
    if not start:
        raise DataError(f"{path}: the file is empty. Copy it again.")
    for kind, size in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        for order in ("little", "big"):
            if int.from_bytes(start, order) != size:
                continue
            block = start + stream.read(size - 4)
            if len(block) < size:
                raise DataError(
                    f"{path}: a NIfTI header has {size} bytes; the file ends after {len(block)}."
                )
            return _single_file(kind(block, endianness=order, check=False), path)
    raise DataError(
        f"{path}: no NIfTI file: it must start with the header size 348 or 540; "
        f"it starts with bytes {start.hex(' ')}."
    )


def _single_file(header: Any, path: Path) -> Any:
    if bytes(header["magic"])[:2] != b"n+":
        raise DataError(
            f"{path}: header and voxels must be in one .nii file; this is a .hdr/.img header "
            f"(magic {bytes(header['magic'])[:3]!r}). Convert the pair to .nii."
        )
    return header


def _shape(header: Any, path: Path) -> tuple[int, ...]:
    """Return (x, y, z) or (x, y, z, c); the header's further dimensions must be 1."""
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise DataError(f"{path}: a NIfTI header has 1 to 7 dimensions; this one says {count}.")
    shape = tuple(int(size) for size in header["dim"][1 : count + 1])
    if min(shape) < 1:
        raise DataError(f"{path}: every size must be at least 1; the header says {shape}.")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        raise DataError(
            f"{path}: a volume must be (x, y, z) or (x, y, z, channel); this file has "
            f"{len(shape)} dimensions {shape}. Save its channels along the fourth."
        )
    return shape + (1,) * (3 - len(shape))


def _read_voxels(stream: BinaryIO, header: Any, path: Path, compressed: bool) -> NDArray[Any]:
    """Return the stored values (x, y, z[, c]), native byte order, after checking the sizes."""
    shape = _shape(header, path)
    dtype = _dtype(header)
    if dtype is None:
        raise DataError(
            f"{path}: voxels must be real numbers of up to 64 bits; this file stores "
            f"{_dtype_name(header)}. Convert it."
        )
    voxels = math.prod(shape)
    needed = voxels * dtype.itemsize
    offset, position = int(header["vox_offset"]), int(header["sizeof_hdr"])
    size = path.stat().st_size
    most = size * _DEFLATE_MAX_RATIO if compressed else size - offset
    if voxels > MAX_VOXELS or needed > most:
        raise DataError(
            f"{path}: the header says {' x '.join(map(str, shape))} voxels ({needed} bytes), "
            f"more than a file of {size} bytes holds. It is truncated or its header is broken."
        )
    if offset < position or offset - position > 1 << 30:
        raise DataError(f"{path}: voxels cannot start at byte {offset} (vox_offset).")
    stream.read(offset - position)  # header extensions
    # nibabel's own reader maps the file: a file that shrinks meanwhile would kill the process.
    data = np.empty(needed, np.uint8)
    view, filled = data.data, 0
    while filled < needed:
        got = stream.readinto(view[filled : filled + (1 << 24)])  # type: ignore[attr-defined]
        if not got:
            raise DataError(
                f"{path}: truncated: {needed} bytes of voxels expected, {filled} found. "
                "Copy the file again."
            )
        filled += got
    stored = data.view(dtype).reshape(shape, order="F")
    return stored.astype(dtype.newbyteorder("="), order="K", copy=False)


def _scaled(raw: NDArray[Any], header: Any) -> NDArray[Any]:
    """Apply slope and intercept in float64, one plane at a time, and keep float32."""
    slope, inter = header.get_slope_inter()
    slope, inter = 1.0 if slope is None else slope, 0.0 if inter is None else inter
    if (slope, inter) == (1.0, 0.0):
        return raw
    scaled = np.empty_like(raw, np.float32)
    for plane in range(raw.shape[-1]):
        scaled[..., plane] = raw[..., plane] * np.float64(slope) + np.float64(inter)
    return scaled


def _affine(header: Any, path: Path) -> geometry.Affine:
    # nibabel's order: sform, qform, then voxel sizes around a centre.
    if int(header["sform_code"]) > 0:
        affine = np.asarray(header.get_sform(), np.float64)
    else:
        affine = np.asarray(header.get_best_affine(), np.float64)
    unit = int(header["xyzt_units"]) & _SPACE_UNITS
    affine[:3] *= _MM_PER_UNIT.get(unit, 1.0)
    return geometry.check_affine(geometry.affine_from_ras_xyz(affine), str(path))


def _dtype(header: Any) -> np.dtype[Any] | None:
    """Return the stored type, or ``None`` when it is no real number of up to 64 bits."""
    from nibabel.nifti1 import data_type_codes

    if int(header["datatype"]) not in data_type_codes:
        return None
    dtype = np.dtype(header.get_data_dtype())
    return dtype if dtype.kind in "uif" and dtype.itemsize <= 8 else None


def _dtype_name(header: Any) -> str:
    from nibabel.nifti1 import data_type_codes

    code = int(header["datatype"])
    return str(data_type_codes.label[code]) if code in data_type_codes else f"type {code}"
