"""Damage pictures and read them as images and as masks.

The oracles: a PNG whose chunks do not have their CRCs, and a TIFF whose deflated strip does not
have its checksum, must not be answered.
"""

from __future__ import annotations

import io
import sys
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from harness import Reader, Source, main, one_bit
from PIL import Image

from tfseg.io import image2d

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (40, 60)).astype(np.uint8)
RGB = RNG.integers(0, 256, (40, 60, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (40, 60)).astype(np.uint16)
FLAT = np.zeros((200, 300), np.uint8)  # shrinks to little: its header may say far more


def pillow(form: str, image: Image.Image, **how: object) -> bytes:
    """A picture as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, format=form, **how)
    return file.getvalue()


def palette() -> Image.Image:
    """A picture of three colours."""
    image = Image.fromarray(GRAY % 3, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return image


def tiff(values: np.ndarray, **how: object) -> bytes:
    """A TIFF file as tifffile writes it."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **how)
    return file.getvalue()


def png_sources() -> Sequence[Source]:
    """PNG of every depth."""
    pictures = [Image.fromarray(values) for values in (GRAY, RGB, DEEP, GRAY > 99, FLAT)]
    return [Source("a.png", pillow("PNG", image)) for image in (*pictures, palette())]


def tiff_sources() -> Sequence[Source]:
    """TIFF of several types, layouts and compressions."""
    kinds = (
        (GRAY, {}),
        (GRAY, {"photometric": "miniswhite", "bigtiff": True}),
        (RGB, {"photometric": "rgb", "compression": "lzw"}),
        (DEEP, {"compression": "zlib", "predictor": True, "tile": (16, 16)}),
        (FLAT, {"compression": "zlib"}),
        (FLAT, {"compression": "packbits"}),
        (RGB.astype(np.float32), {"photometric": "rgb", "planarconfig": "contig"}),
        (GRAY, {"compression": "jpeg"}),
    )
    return [Source("a.tif", tiff(values, **how)) for values, how in kinds]


def other_sources() -> Sequence[Source]:
    """JPEG, GIF, BMP, PPM."""
    gray, colour = Image.fromarray(GRAY), Image.fromarray(RGB)
    return [
        Source("a.jpg", pillow("JPEG", gray)),
        Source("a.jpg", pillow("JPEG", colour, progressive=True)),
        Source("a.gif", pillow("GIF", gray)),
        Source("a.gif", pillow("GIF", palette())),
        Source("a.bmp", pillow("BMP", colour)),
        Source("a.bmp", pillow("BMP", palette())),
        Source("a.pgm", pillow("PPM", gray)),
        Source("a.pgm", b"P5 60 40 4095\n" + (DEEP % 4096).astype(">u2").tobytes()),
        Source("a.ppm", b"P3 2 2 255 " + b"1 2 3 " * 4),
        Source("a.png", pillow("GIF", Image.fromarray(FLAT))),
    ]


def read(path: Path) -> object:
    """Read a picture as an image and as a mask."""
    volume = image2d.read(path)
    image2d._said.clear()
    return volume.array


def read_mask(path: Path) -> object:
    """Read a picture as a mask."""
    return image2d.read(path, labels=True).array


def declared(path: Path) -> int:
    """Return what the pixels need at most: eight bytes each, as many as the reader may take."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return max(8 * image.width * image.height, path.stat().st_size)
    except Exception:
        return path.stat().st_size


def png_oracle(path: Path, source: Source, answer: object) -> str:
    """Return the chunk whose checksum is wrong, by the PNG specification."""
    content = path.read_bytes()
    at = 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        stored = int.from_bytes(content[at + 8 + length : at + 12 + length], "big")
        if len(data) < length or zlib.crc32(kind + data) != stored:
            return f"chunk {kind!r} is damaged"
        if kind == b"IEND":
            return ""
        at += 12 + length
    return "no end"


def deflate_oracle(path: Path, source: Source, answer: object) -> str:
    """Tell whether the strip's checksum is wrong; a few flips in a million keep Adler-32 right."""
    content = path.read_bytes()
    begin, size = strip(content)
    try:
        zlib.decompress(content[begin : begin + size])
    except zlib.error as error:
        return str(error)
    return ""


def strip(content: bytes) -> tuple[int, int]:
    """Return where the only strip of a TIFF begins, and its size."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]


def deflated() -> Sequence[Source]:
    """A TIFF whose only strip is deflated and makes up nearly all of the file."""
    rows = RNG.integers(0, 4, FLAT.shape).astype(np.uint8)
    return [Source("a.tif", tiff(rows, compression="zlib", rowsperstrip=len(rows)))]


def strip_bit(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip a bit of the strip."""
    begin, size = strip(content)
    return content[:begin] + one_bit(content[begin : begin + size], rng) + content[begin + size :]


READERS = {
    "png": Reader(png_sources, read, declared, png_oracle),
    "png-bit": Reader(png_sources, read, declared, png_oracle, one_bit),
    "png-mask": Reader(png_sources, read_mask, declared, png_oracle),
    "tiff": Reader(tiff_sources, read, declared),
    "tiff-mask": Reader(tiff_sources, read_mask, declared),
    "tiff-strip": Reader(deflated, read, declared, deflate_oracle, strip_bit),
    "other": Reader(other_sources, read, declared),
    "other-mask": Reader(other_sources, read_mask, declared),
}


if __name__ == "__main__":
    sys.exit(main(__doc__, READERS))
