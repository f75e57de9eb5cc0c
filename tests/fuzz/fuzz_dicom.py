"""Throw damaged DICOM files at the readers: no crash, no hang, no wild memory, one kind of error.

Takes real files (``TFSEG_TEST_DATA``), damages them in a way that a seed and a number determine,
and reads each; see :mod:`harness` for the options and for what counts as a failure::

    python tests/fuzz/fuzz_dicom.py --reader images --inputs 20000

The readers: ``images``, the one of ``import-dicom``; ``labels``, Segmentations and structure sets
drawn onto an image; ``results``, scans that a Segmentation and a structure set are written for.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from harness import Reader, Source, damaged, main, one_bit, real_data

if TYPE_CHECKING:
    from tfseg.volume import Volume

MOST_SOURCE_BYTES = 600_000
SEG_TYPES = ("binary", "fractional", "labelmap")
# SOP classes of Segmentation, Label Map Segmentation and RT Structure Set.
OBJECTS = (
    b"1.2.840.10008.5.1.4.1.1.66.4", b"1.2.840.10008.5.1.4.1.1.66.7",
    b"1.2.840.10008.5.1.4.1.1.481.3",
)  # fmt: skip


@cache
def image() -> Volume:
    """Return the image that labels are drawn onto."""
    from tfseg.volume import Volume

    return Volume.from_geometry(np.zeros((40, 80, 80), np.int16), (8, 8, 8), (-320, -320, -160))


@cache
def written() -> list[Source]:
    """Return Segmentations and a structure set of our own, which have much in them."""
    from datetime import datetime

    from tfseg.datasets.phantom.series import write_ct_series
    from tfseg.io.dicom_out.about import About
    from tfseg.io.dicom_out.rtstruct import write_rtstruct
    from tfseg.io.dicom_out.seg import write_seg
    from tfseg.io.dicom_out.sources import read_source
    from tfseg.io.dicom_out.stamp import Stamp

    z, y, x = np.indices(image().shape) - 30
    shell = (z**2 + y**2 + x**2 < 300) & (z**2 + y**2 + x**2 > 100)
    labels = image().with_array(np.where(y > 0, 2, 1).astype(np.uint8) * shell)
    about = About(("background", "a", "b"), ((0, 0, 0), (9, 9, 9), (8, 8, 8)), "network", "1")
    stamp = Stamp(datetime(2026, 1, 1), "fuzz")
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_ct_series(image(), folder / "scan", "fuzz")
        source, target = read_source(folder / "scan"), folder / "o.dcm"
        write_rtstruct(labels, source, target, about, stamp)
        found.append(Source("damaged.dcm", target.read_bytes()))
        shares = np.eye(3, dtype=np.float32)[labels.array]
        for kind in SEG_TYPES:
            more = {"probabilities": shares} if kind == "fractional" else {}
            write_seg(labels, source, target, about, stamp, kind=kind, **more)
            found.append(Source("damaged.dcm", target.read_bytes()))
    return found


def damaged_or_one_bit(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a damaged copy; every second time only one bit is another."""
    return one_bit(content, rng) if rng.random() < 0.5 else damaged(content, rng)


def sources(reader: str) -> list[Source]:
    """Return the files to damage: one of each kind, small ones, in a fixed order."""
    found: dict[tuple[str, int], Source] = {}
    for path in sorted((real_data() / "dicom").rglob("*")):
        if path.is_file() and path.stat().st_size <= MOST_SOURCE_BYTES:
            content = path.read_bytes()
            is_object = any(uid in content[:1024] for uid in OBJECTS)
            if content[128:132] == b"DICM" and (reader != "labels" or is_object):
                # One of each folder and size: series have hundreds of files alike.
                key = (str(path.parent), len(content) // 4096)
                found.setdefault(key, Source("damaged.dcm", content))
    return [*found.values(), *(written() if reader == "labels" else ())]


def declared_bytes(path: Path) -> int:
    """Return what the file says its pixels need, or its own size where that is more."""
    from tfseg.errors import DataError
    from tfseg.io.dicom.headers import read_header

    try:
        sheet = read_header(path)
    except DataError:
        return path.stat().st_size
    needed = 0 if sheet is None else sheet.header.frame_bytes * sheet.header.frames
    return max(needed, path.stat().st_size)


def read_images(path: Path) -> None:
    """Read every volume of a file; refuse where none can be read."""
    from tfseg.errors import DataError, TfsegError
    from tfseg.io import dicom

    volumes = 0
    for series in dicom.scan_tree(path).series:
        for stack in dicom.split(series):
            with suppress(TfsegError):
                dicom.load(stack)
                volumes += 1
    if not volumes:
        raise DataError("no volume")


def read_labels(path: Path) -> None:
    """Draw a Segmentation or structure set onto an image."""
    from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
    from tfseg.io.dicom_out.seg_read import read_seg
    from tfseg.io.references import object_kind, structure_names

    read = read_rtstruct if object_kind(path) == "RTSTRUCT" else read_seg
    read(path, image())
    structure_names(path)


def write_results(path: Path) -> None:
    """Write results that refer to a scan."""
    from tfseg.errors import DataError
    from tfseg.io.dicom_out.about import About
    from tfseg.io.outputs import Output, source_for, write_labels
    from tfseg.io.scans import Scan
    from tfseg.volume import Volume

    about = About(("background", "organ"), ((0, 0, 0), (9, 9, 9)), "network", "1")
    for output in (Output("dicom-seg"), Output("rtstruct")):
        source = source_for(Scan(path, "fuzz"), output)
        if source is None or np.prod(source.grid_shape) > 1 << 20:
            raise DataError("too large to write here")
        labels = np.zeros(source.grid_shape, np.uint8)
        labels[:, : labels.shape[1] // 2, : labels.shape[2] // 2] = 1
        write_labels(
            Volume(labels, source.grid_affine), path.with_name("out.dcm"), output, about, source
        )


READERS = {
    name: Reader(
        partial(sources, name),
        read,
        declared_bytes,
        damage=damaged_or_one_bit if name == "labels" else None,
    )
    for name, read in (("images", read_images), ("labels", read_labels), ("results", write_results))
}

if __name__ == "__main__":
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    sys.exit(main(__doc__, READERS))
