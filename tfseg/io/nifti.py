"""NIfTI-1 and NIfTI-2 files (``.nii``, ``.nii.gz``): nibabel's headers, our own bounded read.

NIfTI indexes (x, y, z[, c]) and places voxels in RAS; both are converted here and nowhere else.
The header's rules are those of https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.
"""

from __future__ import annotations

import gzip
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.io.nifti_forms import keep_forms, placed
from tfseg.io.stored import (
    PACKING_LEVEL,
    Stream,
    Unpacked,
    check_size,
    most_unpacked,
    planes,
    read_bytes,
    say_left_over,
    writable,
)
from tfseg.volume import Volume

_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT: coordinates of the scanner
_TIME_UNITS = {8: "s", 16: "ms", 24: "us"}
_NO_EXTENSIONS = bytes(4)  # behind the header: none follow
_MAX_NIFTI1_SIZE = 32767  # NIfTI-1 keeps sizes as int16

_log = logging.getLogger(__name__)


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a volume; a fourth dimension becomes channels, last, in the file's order.

    ``scl_slope`` and ``scl_inter`` are applied (float32 then, else the stored dtype). The sform
    wins over the qform. Compression is recognised by content, and its checksum is compared.

    Raises:
        DataError: missing, empty, truncated or corrupt; no NIfTI; time points and vector
            components together; complex or RGB voxels; sizes that the file cannot hold; an
            unusable affine.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream: Stream = Unpacked(file, path, "gzip") if compressed else file
            header = _single_file(read_header(stream, path), path)
            return _volume(stream, header, path, int(header["sizeof_hdr"]))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a NIfTI volume must be a file; this is a folder.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def read_pair(header: Any, pixels: Path) -> Volume:
    """Read the voxels of a header that is a file of its own.

    Raises:
        DataError: as :func:`read`.
    """
    try:
        with pixels.open("rb") as file:
            return _volume(file, header, pixels, 0)
    except OSError as error:
        raise DataError(f"{pixels}: cannot be read ({error.strerror or error}).") from error


def _volume(stream: Stream, header: Any, path: Path, position: int) -> Volume:
    """Return the volume of a header, of whose file ``position`` bytes have been read."""
    raw = _read_voxels(stream, header, path, position)
    affine, forms = placed(header, raw.shape, path)
    scaled = _scaled(raw, header, path)
    return Volume(scaled.transpose(2, 1, 0, *range(3, raw.ndim)), affine, forms=forms)


def write(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write a volume in its own dtype (bool as uint8) with its exact affine.

    A volume that was read from NIfTI keeps its sform and qform with their codes. Of others the
    affine goes into the sform (float32, as NIfTI-1 keeps it) and, unless the grid is sheared,
    into the qform too, both with the scanner code. Equal volumes give equal bytes.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    import nibabel as nib

    array = writable(volume.array)
    shape = (*array.shape[2::-1], *array.shape[3:])
    kind = nib.Nifti1Header if max(shape) <= _MAX_NIFTI1_SIZE else nib.Nifti2Header
    header = kind(endianness="<")
    header.set_data_dtype(array.dtype.newbyteorder("<"))
    header.set_data_shape(shape)
    header["vox_offset"] = int(header["sizeof_hdr"]) + len(_NO_EXTENSIONS)
    header["scl_slope"], header["scl_inter"] = 1, 0
    affine = geometry.affine_to_ras_xyz(volume.affine)
    direction = volume.direction
    sheared = not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4)
    header.set_qform(affine, 0 if sheared else _SCANNER)
    header.set_sform(affine, _SCANNER)
    header.set_xyzt_units("mm")
    if volume.forms is not None and np.array_equal(volume.forms.affine, volume.affine):
        keep_forms(header, volume.forms)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if temporary.name.lower().endswith(".gz"):
            # No name and no time in the gzip header: the same volume gives the same file.
            with gzip.GzipFile("", "wb", PACKING_LEVEL, fileobj=file, mtime=0) as packed:
                _write_stream(packed, header, array)
        else:
            _write_stream(file, header, array)


def _write_stream(file: Any, header: Any, array: NDArray[Any]) -> None:
    """Write header and voxels; nibabel's own way makes the header anew from one affine."""
    file.write(header.binaryblock + _NO_EXTENSIONS)
    channels = [array] if array.ndim == 3 else np.moveaxis(array, -1, 0)
    for channel in channels:
        for plane in planes(channel):
            file.write(plane)


def read_header(stream: Stream, path: Path) -> Any:
    """Return nibabel's header, of which no field has been checked.

    Raises:
        DataError: no NIfTI.
    """
    import nibabel as nib

    start = stream.read(4)
    if not start:
        raise DataError(f"{path}: the file is empty. Copy it again.")
    for kind, size in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        for order in ("little", "big"):
            if int.from_bytes(start, order) != size:
                continue
            block = start
            while len(block) < size and (more := stream.read(size - len(block))):
                block += more
            if len(block) < size:
                raise DataError(
                    f"{path}: a NIfTI header has {size} bytes; the file ends after {len(block)}."
                )
            return kind(block, endianness=order, check=False)
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
    """Return (x, y, z) or (x, y, z, c) of a header.

    Components of vectors are the fifth dimension by the standard, and the fourth is time; files
    with either alone have channels.
    """
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise DataError(f"{path}: a NIfTI header has 1 to 7 dimensions; this one says {count}.")
    shape = tuple(int(size) for size in header["dim"][1 : count + 1])
    if min(shape) < 1:
        raise DataError(f"{path}: every size must be at least 1; the header says {shape}.")
    further = [size for size in shape[3:] if size > 1]
    if len(further) > 1:
        raise DataError(
            f"{path}: a volume must be (x, y, z) or (x, y, z, channel); this file has "
            f"{len(shape)} dimensions {shape}. Save its channels along the fourth."
        )
    if len(shape) > 3 and shape[3] > 1:
        _say_time(header, shape[3], path)
    return (*shape[:3], *(1,) * (3 - len(shape)), *further)


def _say_time(header: Any, points: int, path: Path) -> None:
    """Warn where the fourth dimension is time: what differs from 1, which many writers leave."""
    unit = _TIME_UNITS.get(int(header["xyzt_units"]) & 0x38)
    step = float(header["pixdim"][4])
    if unit and np.isfinite(step) and step not in {0.0, 1.0}:
        _log.warning(
            "%s: the header tells of %d points in time, %g %s apart; they are taken as channels.",
            path, points, step, unit,
        )  # fmt: skip


def _read_voxels(stream: Stream, header: Any, path: Path, position: int) -> NDArray[Any]:
    """Return the stored values (x, y, z[, c]), native byte order, after checking the sizes."""
    shape = _shape(header, path)
    dtype = _dtype(header)
    if dtype is None:
        raise DataError(
            f"{path}: voxels must be real numbers of up to 64 bits; this file stores "
            f"{_dtype_name(header)}. Convert it."
        )
    if int(header["bitpix"]) not in {0, 8 * dtype.itemsize}:
        _log.warning(
            "%s: the header says %s and %d bits a voxel (bitpix); the former is believed.",
            path, dtype.name, int(header["bitpix"]),
        )  # fmt: skip
    start = float(header["vox_offset"])
    if not position <= start <= position + (1 << 30) or start % 1:
        raise DataError(
            f"{path}: voxels cannot start at byte {start:g} (vox_offset). Repair the header: they "
            f"begin behind its {position} bytes and its extensions."
        )
    compressed = isinstance(stream, Unpacked)
    size = path.stat().st_size
    needed = check_size(
        path, shape, dtype.itemsize, size if compressed else size - int(start),
        "gzip" if compressed else "",
    )  # fmt: skip
    if isinstance(stream, Unpacked):
        stream.most = int(start) + most_unpacked(needed)
    rest = int(start) - position  # header extensions
    while rest > 0 and (skipped := stream.read(min(rest, 1 << 20))):
        rest -= len(skipped)
    # nibabel's own reader maps the file: a file that shrinks meanwhile would kill the process.
    data = read_bytes(stream, needed, path)
    if isinstance(stream, Unpacked):
        stream.finish()
    else:
        say_left_over(path, size - int(start) - needed)
    stored = data.view(dtype).reshape(shape, order="F")
    return stored.astype(dtype.newbyteorder("="), order="K", copy=False)


def _scaled(raw: NDArray[Any], header: Any, path: Path) -> NDArray[Any]:
    """Apply slope and intercept in float64, one plane at a time, and keep float32."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isnan(slope) or slope == 0:  # nifti1.h: 0 scales nothing; nibabel writes NaN for it
        if np.isfinite(inter) and inter != 0:
            _log.warning("%s: scl_inter %g is left out, as scl_slope is %g.", path, inter, slope)
        return raw
    if not np.isfinite([slope, inter]).all():
        raise DataError(
            f"{path}: scl_slope and scl_inter must be finite; the header says {slope:g} and "
            f"{inter:g}. Repair the header."
        )
    if (slope, inter) == (1.0, 0.0):
        return raw
    scaled = np.empty_like(raw, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite then, which is refused later
        for plane in range(raw.shape[-1]):
            scaled[..., plane] = raw[..., plane] * np.float64(slope) + np.float64(inter)
    return scaled


def _dtype(header: Any) -> np.dtype[Any] | None:
    """Return the stored type, or ``None`` when it is no real number of up to 64 bits."""
    from nibabel.nifti1 import data_type_codes

    if int(header["datatype"]) not in data_type_codes:
        return None
    dtype = np.dtype(header.get_data_dtype())
    return dtype if dtype.kind in "uif" and 1 <= dtype.itemsize <= 8 else None


def _dtype_name(header: Any) -> str:
    from nibabel.nifti1 import data_type_codes

    code = int(header["datatype"])
    return str(data_type_codes.label[code]) if code in data_type_codes else f"type {code}"
