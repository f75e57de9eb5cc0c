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
from functools import partial
from pathlib import Path

import numpy as np
from harness import Reader, Source, check, main, real_data

MOST_SOURCE_BYTES = 600_000
# SOP classes of Segmentation, Label Map Segmentation and RT Structure Set.
OBJECTS = (
    b"1.2.840.10008.5.1.4.1.1.66.4", b"1.2.840.10008.5.1.4.1.1.66.7",
    b"1.2.840.10008.5.1.4.1.1.481.3",
)  # fmt: skip


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
    return list(found.values())


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
            try:
                dicom.load(stack)
                volumes += 1
            except TfsegError as error:
                check(error)
    if not volumes:
        raise DataError("no volume")


def read_labels(path: Path) -> None:
    """Draw a Segmentation or structure set onto an image."""
    from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
    from tfseg.io.dicom_out.seg_read import read_seg
    from tfseg.io.references import object_kind
    from tfseg.volume import Volume

    image = Volume.from_geometry(np.zeros((40, 80, 80), np.uint8), (8, 8, 8), (-320, -320, -160))
    read = read_rtstruct if object_kind(path) == "RTSTRUCT" else read_seg
    read(path, image)


def write_results(path: Path) -> None:
    """Write results that refer to a scan."""
    from tfseg.errors import DataError
    from tfseg.io.dicom_out.about import About
    from tfseg.io.outputs import Output, source_for, write_labels
    from tfseg.volume import Volume

    about = About(("background", "organ"), ((0, 0, 0), (9, 9, 9)), "network", "1")
    for output in (Output("dicom-seg"), Output("rtstruct")):
        source = source_for(path, output)
        if source is None or np.prod(source.grid_shape) > 1 << 20:
            raise DataError("too large to write here")
        labels = np.zeros(source.grid_shape, np.uint8)
        labels[:, : labels.shape[1] // 2, : labels.shape[2] // 2] = 1
        write_labels(
            Volume(labels, source.grid_affine), path.with_name("out.dcm"), output, about, source
        )


READERS = {
    name: Reader(partial(sources, name), read, declared_bytes)
    for name, read in (("images", read_images), ("labels", read_labels), ("results", write_results))
}

if __name__ == "__main__":
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    sys.exit(main(__doc__, READERS))
