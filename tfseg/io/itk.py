"""Writing MetaImage (``.mha``) and NRRD through SimpleITK, whose frame is LPS as ours."""

from __future__ import annotations

import os

import numpy as np

from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.volume import Volume


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


def _reason(error: RuntimeError) -> str:
    """Return the telling last line of ITK's report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no reason given"
