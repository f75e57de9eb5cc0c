"""TIFF and BigTIFF pictures, their numbers as stored; tifffile and imagecodecs decode them.

Pillow reads many TIFF files as something else than they hold: it cuts colours to 8 bits, inverts
where 0 is white, and drops channels.
"""

from __future__ import annotations

import logging
import struct
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0 section 2; BigTIFF

_MOST_PAGES = 1000
# TIFF 6.0 sections 4 and 10, and the registered numbers after it.
_LOSSY = {6, 7, 33003, 33004, 33005, 33007, 34712, 34887, 34892, 50001, 50002}
_PLAIN = {1, 5, 8, 32773, 32946}  # none, LZW, deflate, PackBits
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_ALPHA = {1, 2}  # ExtraSamples: associated and unassociated alpha
_DAMAGE = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, ArithmeticError, AssertionError,
    struct.error, zlib.error, NotImplementedError, AttributeError,
)  # fmt: skip


def read_tiff(
    path: Path, *, labels: bool, most_pixels: int, most_ratio: int
) -> tuple[NDArray[Any], NDArray[Any] | None, int]:
    """Return the pixels (y, x) or (y, x, c), alpha (y, x) if there is one, and the orientation.

    Args:
        path: of the file.
        labels: palette indices instead of colours; lossy compression is refused.
        most_pixels: that are decoded.
        most_ratio: of decoded to stored bytes, beyond which the header is taken as damaged.

    Raises:
        DataError: several pages, pixels that are neither gray, RGB nor palette, a size beyond
            the bounds, strips that lie outside of the file, data that cannot be decoded.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong is raised below
    try:
        with tifffile.TiffFile(path) as file:
            page = _the_page(file, path)
            _check(page, path, labels, most_pixels, most_ratio)
            array = page.asarray()
            orientation = page.tags.get(274)
            return (*_meaning(page, array, path, labels), _number(orientation))
    except (tifffile.TiffFileError, *_DAMAGE) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: the TIFF file cannot be decoded ({reason[:200]}).") from error


def _number(tag: Any) -> int:
    return int(tag.value) if tag is not None and np.ndim(tag.value) == 0 else 1


def _the_page(file: Any, path: Path) -> Any:
    pages = [page for page in islice(file.pages, _MOST_PAGES) if not page.is_reduced]
    count = len(pages)
    if file.is_imagej and count == 1:  # ImageJ stores a stack behind the first page's pixels
        count = int((file.imagej_metadata or {}).get("images", 1))
    if count != 1:
        raise DataError(f"{path}: a picture must have one frame; this file has {count}.")
    return pages[0]


def _check(page: Any, path: Path, labels: bool, most_pixels: int, most_ratio: int) -> None:
    """Refuse what must not be decoded: by size, by kind, by where it lies in the file."""
    pixels = page.imagewidth * page.imagelength * page.imagedepth
    if not 0 < pixels <= most_pixels or page.samplesperpixel > 64:
        raise DataError(
            f"{path}: a picture must have 1 to {most_pixels} pixels of at most 64 channels; the "
            f"header says {page.imagewidth} x {page.imagelength} of {page.samplesperpixel}."
        )
    compression = int(page.compression)
    size = path.stat().st_size
    if compression in _PLAIN and page.nbytes > most_ratio * size:
        raise DataError(
            f"{path}: the header says {page.nbytes} bytes of pixels, which a file of {size} bytes "
            "cannot hold; it is truncated or its header is damaged."
        )
    if labels and compression in _LOSSY:
        raise DataError(
            f"{path}: label maps must be stored without loss; this TIFF is compressed with "
            f"{page.compression.name}, which changes class numbers. Export it again as PNG."
        )
    if not page.dataoffsets or len(page.dataoffsets) != len(page.databytecounts):
        raise DataError(f"{path}: the TIFF header does not say where the pixels are.")
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset <= 0 or count <= 0 or offset + count > size:
            raise DataError(f"{path}: pixels lie outside of the file; it is truncated.")
    stored = sum(page.databytecounts)
    if compression == 1 and page.bitspersample % 8 == 0 and stored < page.nbytes:
        raise DataError(
            f"{path}: truncated: {page.nbytes} bytes of pixels expected, {stored} found."
        )


def _meaning(
    page: Any, array: NDArray[Any], path: Path, labels: bool
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return what the samples are: pixels, and alpha or ``None``."""
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    elif page.axes not in {"YX", "YXS"}:
        raise DataError(f"{path}: a picture must be (y, x) or (y, x, channel); got {page.axes}.")
    if array.shape[:2] != (page.imagelength, page.imagewidth):
        raise DataError(f"{path}: the decoded pixels {array.shape} are not those of the header.")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise DataError(f"{path}: pixels must be real numbers; this TIFF stores {array.dtype}.")
    if page.bitspersample == 1:
        array = array.astype(np.uint8) * np.uint8(1 if labels else 255)
    photometric = int(page.photometric)
    if photometric == _PALETTE:
        return (array if labels else _coloured(array, page.colormap)), None
    if photometric in {_RGB, _YCBCR}:
        colours = 3
    elif photometric in {_BLACK_IS_ZERO, _WHITE_IS_ZERO}:
        colours = 1
    else:
        raise DataError(
            f"{path}: pixels must be gray, RGB or palette; got TIFF's {page.photometric.name}."
        )
    if array.ndim == 2:
        return array, None
    extras = tuple(map(int, page.extrasamples))[: max(0, array.shape[2] - colours)]
    alpha = None
    keep = list(range(array.shape[2]))
    for place, kind in enumerate(extras, start=array.shape[2] - len(extras)):
        values = array[..., place]
        # Many writers leave open what the fourth sample of a colour is; a constant says nothing.
        if kind in _ALPHA or (photometric == _RGB and (values == values.flat[0]).all()):
            alpha = values if kind in _ALPHA else alpha
            keep.remove(place)
    array = np.ascontiguousarray(array[..., keep])
    return (array[..., 0] if array.shape[2] == 1 else array), alpha


def _coloured(index: NDArray[Any], colormap: NDArray[Any]) -> NDArray[Any]:
    """Return palette colours of 8 bits, or gray where the palette is gray."""
    # Colours go to 65535 (TIFF 6.0 section 5); some writers go to 255.
    palette = (colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8).T
    if (palette == palette[:, :1]).all():
        return palette[index, 0]
    return palette[index]
