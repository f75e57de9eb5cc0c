"""MetaImage (``.mha``, ``.mhd``) and NRRD through SimpleITK, whose frame is LPS as ours."""

from __future__ import annotations

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
