"""Pictures (PNG, JPEG, TIFF, GIF, BMP, PPM, PGM) as volumes of one slice; Pillow decodes them.

A picture says nothing about millimetres: its volume is (1, y, x[, c]) at 1 mm in the canonical
direction. Pixels are kept as stored: an EXIF rotation is not applied, alpha is dropped.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.volume import Volume

_MAX_UNPACKED = 1 << 28  # bytes of a gzipped PPM: twice the most pixels that are read

# What Pillow's parsers and decoders raise on broken files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    struct.error,
    zlib.error,
)
_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE = 254, 258  # TIFF 6.0, section 8

# What Pillow calls each pixel layout, and what it becomes; palettes are looked at one by one.
_CONVERT = {
    "1": "L", "L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "RGBX": "RGB", "RGBa": "RGB",
    "CMYK": "RGB", "YCbCr": "RGB", "I": "I", "I;16": "I;16", "I;16L": "I;16", "I;16B": "I;16B",
    "F": "F",
}  # fmt: skip


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a picture: gray (1, y, x) or RGB (1, y, x, 3), in the stored integer type.

    Palette pictures become gray when their palette is gray, else RGB.

    Raises:
        DataError: missing, empty, truncated, no picture; several frames; more than 179 million
            pixels (a decompression bomb, by Pillow's bound); an unusual colour space.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty. Copy it again.")
    try:
        with warnings.catch_warnings():
            # Of odd tags, which do not matter here, and from half of Pillow's size bound on.
            warnings.simplefilter("ignore")
            if _is_16_bit_colour(path):
                array = _read_with_itk(path)
            else:
                with Image.open(_source(path)) as image:
                    array = _pixels(image, path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: the picture is too large to decode: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: no PNG, JPEG, TIFF, GIF, BMP, PPM or PGM picture, or a damaged one."
        ) from error
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path}: the picture cannot be decoded ({error}).") from error
    return Volume.from_geometry(array[np.newaxis])


def write(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write a volume of one slice as PNG: uint8 or uint16 gray, or uint8 RGB.

    Raises:
        DataError: more than one slice, another dtype or another number of channels.
    """
    from PIL import Image

    array = volume.array
    gray = array.ndim == 3 and array.dtype in (np.uint8, np.uint16)
    colour = array.ndim == 4 and array.shape[3] == 3 and array.dtype == np.uint8
    if volume.shape[0] != 1 or not (gray or colour):
        raise DataError(
            f"{path}: a PNG holds one slice of uint8 or uint16, or of uint8 RGB; got shape "
            f"{array.shape} of {array.dtype}. Write .nii.gz instead."
        )
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(array[0])).save(temporary, format="PNG")


def _pixels(image: Any, path: Path) -> NDArray[Any]:
    frames = _count_frames(image)
    if frames != 1:
        raise DataError(f"{path}: a picture must have one frame; this file has {frames}.")
    mode = image.mode
    if mode in {"P", "PA"}:
        palette = np.reshape(image.getpalette("RGB"), (-1, 3))
        mode = "L" if (palette == palette[:, :1]).all() else "RGB"
    elif mode in _CONVERT:
        mode = _CONVERT[mode]
    else:
        raise DataError(f"{path}: pixels must be gray, RGB or palette; got Pillow mode {mode}.")
    converted = image if image.mode == mode else image.convert(mode)
    array = np.asarray(converted)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _source(path: Path) -> Path | io.BytesIO:
    """Return what Pillow can open: the unpacked bytes of a gzipped picture, or the file."""
    if path.suffix.lower() != ".gz":
        return path
    with gzip.open(path) as file:
        content = file.read(_MAX_UNPACKED + 1)
    if len(content) > _MAX_UNPACKED:
        raise DataError(f"{path}: a picture must unpack to at most {_MAX_UNPACKED} bytes.")
    return io.BytesIO(content)


def _count_frames(image: Any) -> int:
    """Return the number of pictures in a file, thumbnails not counted."""
    frames = int(getattr(image, "n_frames", 1))
    if frames == 1 or image.format != "TIFF":
        return frames
    thumbnails = 0
    for frame in range(frames):
        image.seek(frame)
        thumbnails += int(_tags(image).get(_NEW_SUBFILE_TYPE, 0)) & 1
    image.seek(0)
    return frames - thumbnails


def _tags(image: Any) -> Any:
    return image.tag_v2


def _is_16_bit_colour(path: Path) -> bool:
    """Tell whether Pillow would cut the picture's colours to 8 bits."""
    with path.open("rb") as file:
        start = file.read(26)
    if start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) == 26:
        depth, colour_type = start[24], start[25]  # IHDR, PNG specification 11.2.2
        return depth == 16 and colour_type in {2, 4, 6}
    if start[:4] in {b"II*\0", b"MM\0*"}:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as image:
                bits = _tags(image).get(_BITS_PER_SAMPLE, (8,))
                return len(bits) > 1 and max(bits) > 8
        except UnidentifiedImageError:
            return False  # read() will say so
    return False


def _read_with_itk(path: Path) -> NDArray[Any]:
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # of tags that do not matter here
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) != 2 or size[0] * size[1] > 1 << 27:
            raise DataError(f"{path}: a picture must be one frame of at most 2**27 pixels.")
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise DataError(f"{path}: the picture cannot be decoded; it may be damaged.") from error
    if array.ndim == 3:
        array = array[..., : 3 if array.shape[2] >= 3 else 1]  # without alpha
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
