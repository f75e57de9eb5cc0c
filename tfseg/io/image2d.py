"""Pictures (PNG, JPEG, TIFF, GIF, BMP, PPM, PGM) as volumes of one slice.

A picture says nothing about millimetres: its volume is (1, y, x[, c]) at 1 mm in the canonical
direction. Numbers are kept as stored. Alpha is dropped. Where the file says that the camera was
turned (EXIF, TIFF), the picture is set upright, as viewers show it, and that is said.

Pillow decodes what it keeps as it is, imagecodecs PNG colours of 16 bits, tifffile TIFF.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.io.tiff import MAGIC, read_tiff
from tfseg.volume import Volume

_log = logging.getLogger(__name__)

_MOST_PIXELS = 1 << 27
_MAX_UNPACKED = 1 << 28  # bytes of a gzipped PPM: twice the most pixels that are read
# Decoded to stored bytes. Deflate reaches 1032, GIF's LZW some 2700; beyond it a header lies.
_MOST_RATIO = 3000
_PNG = b"\x89PNG\r\n\x1a\n"

# What Pillow's parsers and decoders raise on broken files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "DIB", "PPM")
_LOSSY = {"JPEG", "MPO"}

# What Pillow calls each pixel layout, and what it becomes; palettes are looked at one by one.
_CONVERT = {
    "1": "L", "L": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "RGBX": "RGB", "RGBa": "RGB",
    "CMYK": "RGB", "YCbCr": "RGB", "I": "I", "I;16": "I;16", "I;16L": "I;16", "I;16B": "I;16B",
    "F": "F",
}  # fmt: skip

# EXIF and TIFF orientation -> what sets the stored rows and columns upright (TIFF 6.0 section 8).
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
_said: set[str] = set()


def read(path: str | os.PathLike[str], *, labels: bool = False) -> Volume:
    """Read a picture: gray (1, y, x) or colours (1, y, x, c), in the stored type.

    Args:
        path: of the file; its content tells the format.
        labels: the picture is a label map or mask: what is stored of a palette is the class, and
            one bit is 0 or 1. Without, palettes become gray or RGB, and one bit 0 or 255.

    Raises:
        DataError: missing, empty, truncated, no picture; several frames; more than 2**27
            pixels; an unusual colour space; a checksum that is wrong. Of labels also: lossy
            compression, colours, or an alpha channel that says something.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty.")
        with path.open("rb") as file:
            start = file.read(32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd tags, which do not matter here
            if start[:4] in MAGIC:
                array, alpha, turn = read_tiff(
                    path, labels=labels, most_pixels=_MOST_PIXELS, most_ratio=_MOST_RATIO
                )
            else:
                array, alpha, turn = _read_with_pillow(path, start, labels)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except DataError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: the picture cannot be decoded ({reason}).") from error
    if labels:
        _check_labels(array, alpha, path)
    if turn in _UPRIGHT:
        array = np.ascontiguousarray(_UPRIGHT[turn](array))
        _say_once(
            f"orientation {turn}",
            f"{path}: its orientation tag is {turn}, so it is turned upright, as viewers show it; "
            "a mask beside it must be upright too. Other pictures with this tag are turned too.",
        )
    return Volume.from_geometry(array[np.newaxis])


def _say_once(key: str, message: str) -> None:
    """Warn of something that all pictures of a data set may have: for the first one."""
    if key not in _said:
        _said.add(key)
        _log.warning("%s", message)


def _check_labels(array: NDArray[Any], alpha: NDArray[Any] | None, path: Path) -> None:
    if array.ndim == 3:
        raise DataError(
            f"{path}: a label map has 1 channel, its numbers are the classes; got colours "
            f"({array.shape[2]} channels). Save it with a palette or as gray."
        )
    if alpha is not None and alpha.size and (alpha != alpha.flat[0]).any():
        raise DataError(
            f"{path}: the mask has an alpha channel that differs from pixel to pixel, so it does "
            "not say which of the two is the label. Save it without alpha."
        )


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


def _read_with_pillow(
    path: Path, start: bytes, labels: bool
) -> tuple[NDArray[Any], NDArray[Any] | None, int]:
    """Return pixels, alpha or ``None``, and EXIF's orientation."""
    from PIL import Image, UnidentifiedImageError

    if start[:8] == _PNG:
        _check_png(path)
    try:
        image = Image.open(_source(path), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: no PNG, JPEG, TIFF, GIF, BMP, PPM or PGM picture, or its header is damaged."
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: the picture is too large to decode: {error}") from error
    with image:
        _check_size(image, path)
        frames = int(getattr(image, "n_frames", 1))
        if frames != 1:
            raise DataError(f"{path}: a picture must have one frame; this file has {frames}.")
        if labels and image.format in _LOSSY:
            raise DataError(
                f"{path}: label maps must be stored without loss; JPEG changes class numbers. "
                "Export it again as PNG."
            )
        turn = image.getexif().get(274, 1)
        # PNG specification 11.2.1: depth and colour type are bytes 24 and 25 of the file.
        if start[:8] == _PNG and start[24] == 16 and start[25] in {2, 4, 6}:
            array, alpha = _deep_png(path)
        else:
            array, alpha = _pixels(image, path, labels)
            if labels and start[:8] == _PNG and start[25] == 0 and start[24] in {2, 4}:
                array = array // (255 // (2 ** start[24] - 1))  # Pillow stretches them to 255
    return array, alpha, turn if isinstance(turn, int) else 1


def _check_size(image: Any, path: Path) -> None:
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise DataError(
            f"{path}: the picture is too large to decode: at most {_MOST_PIXELS} pixels; the "
            f"header says {width} x {height}."
        )
    size = path.stat().st_size
    if path.suffix.lower() != ".gz" and width * height > _MOST_RATIO * 8 * size:
        raise DataError(
            f"{path}: the header says {width} x {height} pixels, which a file of {size} bytes "
            "cannot hold; it is truncated or its header is damaged."
        )


def _pixels(image: Any, path: Path, labels: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
    mode = image.mode
    alpha = np.asarray(image.getchannel("A")) if mode in {"LA", "RGBA", "PA"} else None
    if mode in {"P", "PA"} and labels:
        mode = "P"
    elif mode in {"P", "PA"}:
        palette = np.reshape(image.getpalette("RGB"), (-1, 3))
        mode = "L" if (palette == palette[:, :1]).all() else "RGB"
    elif mode == "1" and labels:
        return np.asarray(image).astype(np.uint8), None
    elif mode in _CONVERT:
        mode = _CONVERT[mode]
    else:
        raise DataError(f"{path}: pixels must be gray, RGB or palette; got Pillow mode {mode}.")
    stretched = _stretched_to(image)
    if image.mode == mode:
        array = np.asarray(image)
    elif image.mode == "PA":
        array = np.asarray(image)[..., 0] if mode == "P" else np.asarray(image.convert(mode))
    else:
        array = np.asarray(image.convert(mode))
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if stretched is not None:
        least, most = stretched
        # Pillow stretches to all of 8 or 16 bits; each stored number has its own result.
        array = np.rint(array.astype(np.float64) * least / most).astype(
            np.uint8 if least < 256 else np.uint16
        )
    return array, alpha


def _stretched_to(image: Any) -> tuple[int, int] | None:
    """Return (greatest stored number, what Pillow makes of it) of a PPM or PGM, or ``None``."""
    if image.format != "PPM" or not image.tile:
        return None
    codec, arguments = image.tile[0][0], image.tile[0][3]
    if codec not in {"ppm", "ppm_plain"} or not isinstance(arguments, tuple):
        return None
    most = arguments[-1]
    if not isinstance(most, int) or most in {255, 65535}:
        return None
    return most, 65535 if image.mode in {"I", "I;16"} else 255


def _source(path: Path) -> Path | io.BytesIO:
    """Return what Pillow can open: the unpacked bytes of a gzipped picture, or the file."""
    if path.suffix.lower() != ".gz":
        return path
    with gzip.open(path) as file:
        content = file.read(_MAX_UNPACKED + 1)
    if len(content) > _MAX_UNPACKED:
        raise DataError(f"{path}: a picture must unpack to at most {_MAX_UNPACKED} bytes.")
    return io.BytesIO(content)


def _check_png(path: Path) -> None:
    """Check what Pillow does not: every chunk's CRC, and that the pixels are all there.

    Raises:
        DataError: a wrong checksum (PNG specification 5.3), or a file that ends early.
    """
    expected = None
    pixels = zlib.decompressobj()
    found = 0
    for kind, data in _chunks(path):
        if kind == b"IHDR" and len(data) == 13:
            expected = _png_bytes(data, path)
        elif kind == b"IDAT" and expected is not None:
            while data and not pixels.eof:
                found += len(pixels.decompress(data, 1 << 20))
                data = pixels.unconsumed_tail
                if found > expected:
                    return  # too many are not decoded; the checksums so far were right
        elif kind == b"IEND":
            break
    if expected is None:
        raise DataError(f"{path}: no PNG picture: the first chunk must be IHDR.")
    if found < expected:
        raise DataError(f"{path}: truncated: {expected} bytes of pixels expected, {found} found.")


def _chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    with path.open("rb") as file:
        file.seek(len(_PNG))
        while head := file.read(8):
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            data = file.read(min(length, 1 << 31) + 4)
            if len(head) < 8 or len(data) != length + 4:
                raise DataError(f"{path}: the PNG file ends early; it is truncated.")
            if zlib.crc32(kind + data[:-4]) != int.from_bytes(data[-4:], "big"):
                name = kind.decode("latin-1")
                raise DataError(f"{path}: the checksum of PNG chunk {name!r} is wrong: damaged.")
            yield kind, data[:-4]


def _png_bytes(header: bytes, path: Path) -> int:
    """Return the size of the filtered rows of a PNG, from its IHDR (PNG specification 7.2, 8.2)."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
    if samples is None or depth not in {1, 2, 4, 8, 16} or not 0 < width * height <= _MOST_PIXELS:
        raise DataError(
            f"{path}: a PNG picture must have 1 to {_MOST_PIXELS} pixels of a known kind; the "
            f"header says {width} x {height}, depth {depth}, colour type {colour}."
        )
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: x and y of the first pixel, steps in x and y
        passes = [
            (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]  # fmt: skip
    total = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * samples * depth + 7) // 8)
    return total


def _deep_png(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the colours and alpha of a PNG of 16 bits a sample, which Pillow cuts to 8."""
    import imagecodecs

    array = imagecodecs.png_decode(path.read_bytes())
    if array.ndim == 3 and array.shape[2] in {2, 4}:
        colours = array[..., :-1]
        return (colours[..., 0] if colours.shape[2] == 1 else colours), array[..., -1]
    return array, None
