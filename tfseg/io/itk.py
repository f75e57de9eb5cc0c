"""MetaImage (``.mha``, ``.mhd``) and NRRD through SimpleITK, whose frame is LPS as ours."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.volume import Volume

SUFFIXES = (".mha", ".mhd", ".nrrd")

_MAX_VOXELS = 2**33
_MAX_HEADER_BYTES = 1 << 16
_METAIMAGE_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip
_DEFLATE_MAX_RATIO = 1032  # see RFC 1951; both formats compress with DEFLATE at best


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a volume; vector voxels and a fourth dimension become channels, last.

    Raises:
        DataError: missing, empty, truncated or corrupt; complex voxels; more than four
            dimensions; an unusable affine.
    """
    import SimpleITK as sitk  # noqa: N813

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file. Check the path.")
    if path.suffix.lower() != ".nrrd":
        _check_metaimage(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
    try:
        reader.ReadImageInformation()
        _check_header(reader, path)
        image = reader.Execute()
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be read as {path.suffix} ({_reason(error)}).") from error
    array = sitk.GetArrayFromImage(image)  # ([t,] [z,] y, x[, components])
    dimensions = image.GetDimension()
    if dimensions == 2:
        array = array[np.newaxis]
    elif dimensions == 4:
        if array.ndim != 4:
            raise DataError(f"{path}: a fourth dimension of vector voxels cannot be read.")
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    return Volume(array, _affine(image, path))


def write(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write a volume in its own dtype (bool as uint8), compressed; channels as vector voxels.

    Raises:
        DataError: the format cannot hold the volume, or the disk is full.
    """
    import SimpleITK as sitk  # noqa: N813

    array = volume.array
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)  # ITK has no 16-bit float
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim == 4)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin_mm)
    image.SetDirection(volume.direction[:, ::-1].ravel().tolist())
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise DataError(f"{path}: cannot be written ({_reason(error)}).") from error


def _check_header(reader: Any, path: Path) -> None:
    """Refuse before anything is allocated what the file cannot hold."""
    import SimpleITK as sitk  # noqa: N813

    size = reader.GetSize()
    if reader.GetPixelID() in {sitk.sitkComplexFloat32, sitk.sitkComplexFloat64}:
        raise DataError(f"{path}: voxels must be real numbers; this file stores complex ones.")
    if not 2 <= len(size) <= 4:
        raise DataError(f"{path}: a volume has 2 to 4 dimensions; this file has {len(size)}.")
    voxels = int(np.prod(size, dtype=object)) * reader.GetNumberOfComponents()
    # A .mhd keeps its voxels in a file beside it, whose size ITK checks itself.
    detached = path.suffix.lower() == ".mhd"
    if voxels > _MAX_VOXELS or (not detached and voxels > path.stat().st_size * _DEFLATE_MAX_RATIO):
        raise DataError(
            f"{path}: the header says {' x '.join(map(str, size))} voxels, more than a file of "
            f"{path.stat().st_size} bytes holds. It is truncated or its header is broken."
        )


def _check_metaimage(path: Path) -> None:
    """Refuse damaged MetaImage files, of which ITK's parser complains on stderr by itself.

    The header is lines of ``Key = Value``; ``ElementDataFile`` is the last one and says where
    the voxels are: ``LOCAL``, right behind it, or in a file beside.
    """
    with path.open("rb") as file:
        start = file.read(_MAX_HEADER_BYTES)
    fields: dict[str, str] = {}
    end = 0
    while "ElementDataFile" not in fields and (stop := start.find(b"\n", end)) >= 0:
        key, _, value = start[end:stop].decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        end = stop + 1
    missing = [
        key for key in ("NDims", "DimSize", "ElementType", "ElementDataFile") if key not in fields
    ]
    if missing:
        raise DataError(f"{path}: no MetaImage file: its header must have {missing[0]}.")
    sizes, name = fields["DimSize"].split(), fields["ElementDataFile"]
    channels = fields.get("ElementNumberOfChannels", "1")
    packed = fields.get("CompressedDataSize", "0")
    if fields["NDims"] != str(len(sizes)):
        raise DataError(
            f"{path}: DimSize must be NDims = {fields['NDims']} sizes; got {fields['DimSize']!r}."
        )
    for number in (*sizes, channels, packed):
        if not number.isdecimal():
            raise DataError(f"{path}: the header's sizes must be whole numbers; got {number!r}.")
    voxels = path
    if name != "LOCAL":
        if name in {"", "LIST"} or "%" in name or Path(name).name != name:
            raise DataError(
                f"{path}: the voxels must be in one file beside the header; ElementDataFile is "
                f"{name!r}. Convert it to .mha."
            )
        voxels, end = path.with_name(name), 0
        if not voxels.is_file():
            raise DataError(f"{path}: the voxels are missing: there is no file {voxels}.")
    found = voxels.stat().st_size - end
    if fields.get("CompressedData", "False").lower() == "true":
        needed = int(packed)
    else:
        samples = math.prod(map(int, (*sizes, channels)))
        needed = samples * _METAIMAGE_BYTES.get(fields["ElementType"].removesuffix("_ARRAY"), 1)
    if found < needed:
        raise DataError(
            f"{path}: truncated: {needed} bytes of voxels expected, {found} found. "
            "Copy the file again."
        )


def _affine(image: Any, path: Path) -> geometry.Affine:
    """Return the affine of the first three axes; ITK gives index (x, y, z) to LPS."""
    dimensions = image.GetDimension()
    direction, origin, spacing = np.eye(3), np.zeros(3), np.ones(3)
    used = min(dimensions, 3)
    full = np.reshape(image.GetDirection(), (dimensions, dimensions))
    direction[:used, :used] = full[:used, :used]
    origin[:used] = image.GetOrigin()[:used]
    spacing[:used] = image.GetSpacing()[:used]
    affine = geometry.affine_from_geometry(spacing[::-1], origin, direction[:, ::-1])
    return geometry.check_affine(affine, str(path))


def _reason(error: RuntimeError) -> str:
    """Return the telling last line of ITK's report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no reason given"
