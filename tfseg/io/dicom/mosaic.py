"""Siemens mosaics: the slices of one volume as tiles of one picture.

The sheet has n x n tiles, n the smallest that holds all, in rows from the top left. Image
Position is that of the sheet's own corner: the slices lie in its middle, and start at the
first slice (Siemens MR conformance statement). How many there are and which way they are
stacked is in Siemens' private header alone.
"""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom.damage import damage, reason
from tfseg.io.dicom.dataset import sequences
from tfseg.io.dicom.frames import FURTHEST_MM, Box, Frame

_CREATOR = "SIEMENS CSA HEADER"
_GROUP = 0x0029
_ELEMENTS = (
    "SpacingBetweenSlices",
    0x00290010,
    0x00290011,
    0x00290012,
    0x00291010,
    0x00291110,
    0x00291210,
)
_MOST_SLICES = 4096
_MOST_TAGS = 1024

_Vector = NDArray[np.float64]


def tiles_of(sheet: Frame) -> tuple[Frame, ...]:
    """Return the slices of a mosaic.

    Raises:
        DataError: Siemens' private header is missing or damaged, or the geometry is.
    """
    header = sheet.header
    position, orientation = sheet.position, sheet.orientation
    if not sheet.is_placed or position is None or orientation is None or sheet.spacing is None:
        raise DataError(
            f"{header.name} is a mosaic and needs a position and orientation of numbers of at "
            f"most {FURTHEST_MM:g}, and a spacing; got {position}, {orientation}, {sheet.spacing}."
        )
    count, toward, step = _siemens(sheet)
    side = math.isqrt(count - 1) + 1
    rows, columns = header.rows // side, header.columns // side
    if rows * side != header.rows or columns * side != header.columns:
        raise DataError(
            f"{header.name} is a mosaic of {count} slices: {side} x {side} tiles do not fit into "
            f"{header.rows} x {header.columns} pixels."
        )
    row, column = np.array(orientation).reshape(2, 3)
    normal = np.cross(row, column)
    if normal @ toward < 0:
        normal = -normal
    between_rows, between_columns = sheet.spacing
    if not all(0 < size <= FURTHEST_MM for size in (step, *sheet.spacing)):
        raise DataError(
            f"{header.name} is a mosaic and needs SpacingBetweenSlices and PixelSpacing above 0 "
            f"and at most {FURTHEST_MM:g}; got {step:g} and {sheet.spacing}."
        )
    corner = (
        np.array(position)
        + row * between_columns * (header.columns - columns) / 2
        + column * between_rows * (header.rows - rows) / 2
    )
    return tuple(
        Frame(
            header=header,
            index=0,
            box=Box(index // side * rows, index % side * columns, rows, columns),
            position=tuple((corner + index * step * normal).tolist()),
            orientation=orientation,
            spacing=sheet.spacing,
            slope=sheet.slope,
            intercept=sheet.intercept,
            unit=sheet.unit,
            thickness_mm=step,
            traits=sheet.traits,
            scale=sheet.scale,
        )
        for index in range(count)
    )


def _siemens(sheet: Frame) -> tuple[int, _Vector, float]:
    """Return the number of slices, the vector from the first to the next, and mm between them."""
    header = sheet.header
    dataset = sequences(header.path, header.name, _ELEMENTS)
    try:
        values = _csa_values(dataset.private_block(_GROUP, _CREATOR)[0x10].value)
        count = int(values["NumberOfImagesInMosaic"][0])
        toward = np.array([float(text) for text in values["SliceNormalVector"][:3]])
        step = float(dataset.get("SpacingBetweenSlices") or 0)
    except damage() as error:
        raise DataError(
            f"{header.name} is a mosaic, many slices tiled into one picture, and Siemens' private "
            f"header that says how is missing or damaged ({reason(error, 80)}). Export the series "
            "as single slices."
        ) from error
    near = toward.shape == (3,) and (np.abs(toward) <= FURTHEST_MM).all()  # NaN is not
    if not 1 <= count <= _MOST_SLICES or not near:
        raise DataError(
            f"{header.name} is a mosaic of 1 to {_MOST_SLICES} slices with a normal vector; its "
            f"private header says {count} and {toward.tolist()}."
        )
    return count, toward, step


def _csa_values(data: bytes) -> dict[str, list[str]]:
    """Read a CSA header, format SV10: named tags of texts, little endian.

    The layout is known from nibabel's description (nibabel.nicom, "Siemens format DICOM with
    CSA header"): "SV10", 4 bytes, number of tags, 77; then each tag as name (64 bytes),
    multiplicity, VR (4 bytes), syngo type, number of items, 77 or 205, and the items, each a
    length, three numbers more, and that many bytes, filled up to a multiple of 4.

    Raises:
        ValueError, struct.error: it is something else, or cut off.
    """
    if data[:4] != b"SV10":
        raise ValueError("it does not begin with SV10")
    (tags,) = struct.unpack_from("<I", data, 8)
    if tags > _MOST_TAGS:
        raise ValueError(f"it says {tags} tags")
    position, found = 16, {}
    for _ in range(tags):
        name, items = struct.unpack_from("<64s12xI", data, position)
        position += 84
        if items > _MOST_TAGS:
            raise ValueError(f"it says {items} items")
        texts = []
        for _ in range(items):
            (length,) = struct.unpack_from("<I", data, position)
            position += 16
            if position + length > len(data):
                raise ValueError("it is cut off")
            text = data[position : position + length].split(b"\0")[0].decode("latin-1").strip()
            if text:
                texts.append(text)
            position += length + -length % 4
        found[name.split(b"\0")[0].decode("latin-1")] = texts
    return found
