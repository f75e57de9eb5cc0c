"""Segmentations of 3D Slicer: NRRD files (``.seg.nrrd``) whose header names segments.

A segment is the voxels of one value in one layer; segments that overlap are in layers of their
own, along an axis of the file. The file may hold only the part of the image around them. The keys
are those of https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.errors import DataError
from tfseg.io import nrrd
from tfseg.io.nrrd_header import Header, read_header
from tfseg.io.suffixes import NRRD
from tfseg.volume import Volume

_ALIGNED = 0.1  # of a voxel: headers round
_MOST = 65535  # the greatest value that is written
_MOST_SEGMENTS = 1000


@dataclass(frozen=True)
class Segment:
    """One structure.

    Attributes:
        name: as a person gave it.
        layer: counted from 0.
        value: of its voxels in that layer.
    """

    name: str
    layer: int
    value: int


def has_segments(path: Path) -> bool:
    """Tell whether a file is a NRRD whose header names segments; of damaged ones it is unknown."""
    if path.suffix.lower() not in NRRD or not path.is_file():
        return False
    try:
        return bool(_numbers(read_header(path)))
    except DataError:
        return False  # whoever reads the voxels will say why


def segments(path: str | os.PathLike[str]) -> tuple[Segment, ...]:
    """Return the segments that a file's header names.

    Raises:
        DataError: two segments of one value in one layer, or a header that breaks its rules.
    """
    header = read_header(path)
    numbers = _numbers(header)
    found = tuple(_segment(header, number, order) for order, number in enumerate(numbers))
    places = [(segment.layer, segment.value) for segment in found]
    if len(set(places)) < len(places):
        raise DataError(
            f"{path}: each segment must have a value of its own in its layer; two share one."
        )
    return found


def write_segments(
    labels: Volume,
    path: str | os.PathLike[str],
    names: Sequence[str] = (),
    colours: Sequence[tuple[int, int, int]] = (),
) -> None:
    """Write a label map whose header names a segment a value, in one layer.

    Args:
        labels: (z, y, x) whole numbers, 0 to 65535.
        path: the file.
        names: of the values from 0 on, the background first; other values that are there are
            called ``Segment_3`` or the like.
        colours: of the same values, RGB, 0 to 255.

    Raises:
        DataError: several channels, values that are no labels, or a failing disk.
    """
    array = labels.array.astype(np.uint8) if labels.array.dtype == bool else labels.array
    whole = array.ndim == 3 and array.dtype.kind in "ui" and array.min() >= 0
    if not whole or array.max() > _MOST or len(present := np.unique(array)) > _MOST_SEGMENTS:
        raise DataError(
            f"{path}: a segmentation (.seg.nrrd) holds whole numbers from 0 to {_MOST} in one "
            f"channel, at most {_MOST_SEGMENTS} different ones; this volume does not. Name the "
            "file .nrrd."
        )
    pairs = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    values = sorted({*range(1, len(names)), *present.tolist()} - {0})
    for number, value in enumerate(values):
        name = " ".join(names[value].split()) if value < len(names) else ""
        told = {
            "ID": f"Segment_{value}",
            "Name": name or f"Segment_{value}",
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": _extent(array == value),
        }
        if value < len(colours):
            told["Color"] = " ".join(f"{part / 255:.6g}" for part in colours[value])
        pairs |= {f"Segment{number}_{key}": text for key, text in told.items()}
    kind = np.uint8 if array.max() < 256 else np.uint16
    nrrd.write(Volume(array.astype(kind), labels.affine), path, pairs)


def _extent(inside: np.ndarray) -> str:
    """Return the first and the last voxel along x, y and z."""
    ends = []
    for axis in (2, 1, 0):
        places = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        ends += [int(places[0]), int(places[-1])] if len(places) else [0, -1]
    return " ".join(map(str, ends))


def _numbers(header: Header) -> list[int]:
    keys = (re.match(r"Segment(\d{1,6})_", key, re.ASCII) for key in header.pairs)
    return sorted({int(key.group(1)) for key in keys if key})


def _segment(header: Header, number: int, order: int) -> Segment:
    pairs = header.pairs
    name = pairs.get(f"Segment{number}_Name") or pairs.get(f"Segment{number}_ID") or ""
    # Before layers could be shared, each segment had one of its own and the value 1.
    layer = pairs.get(f"Segment{number}_Layer", str(order)).strip()
    value = pairs.get(f"Segment{number}_LabelValue", "1").strip()
    if not re.fullmatch(r"\d{1,6}", layer, re.ASCII) or not re.fullmatch(
        r"[1-9]\d{0,8}", value, re.ASCII
    ):
        raise DataError(
            f"{header.path}: a segment needs a layer from 0 and a value from 1; segment {number} "
            f"has {layer[:20]!r} and {value[:20]!r}."
        )
    return Segment(name.strip() or f"segment {number}", int(layer), int(value))


def read_segments(
    path: str | os.PathLike[str], grid: Volume, *, names: Sequence[str] | None = None
) -> tuple[Volume, dict[int, str], tuple[str, ...]]:
    """Read segments onto the grid of an image.

    Where segments overlap, the smaller one is kept: a tumour lies in its organ.

    Args:
        path: a Segmentation of 3D Slicer.
        grid: the image, or anything on its grid.
        names: segments to read, case and blanks at the ends aside; they become the values 1, 2,
            ... in this order. Without it all are read, in the file's order.

    Returns:
        The label map (z, y, x) uint8, or uint16 beyond 255; the name of each value; and
        sentences on what a person should know.

    Raises:
        DataError: damaged, none of ``names`` in it, a layer that is not there, or voxels that
            are not the image's.
    """
    path = Path(path)
    found = segments(path)
    names = [segment.name for segment in found] if names is None else names
    value_of = {name.strip().casefold(): value for value, name in enumerate(names, start=1)}
    chosen = [
        (value_of[segment.name.casefold()], segment)
        for segment in found
        if segment.name.casefold() in value_of
    ]
    if not chosen:
        raise DataError(
            f"{path}: needs a segment named {' or '.join(names)}; it has "
            f"{', '.join(segment.name for segment in found) or 'none'}."
        )
    stored = nrrd.read(path)
    if max(segment.layer for _, segment in chosen) >= stored.channels:
        raise DataError(f"{path}: segments need {len(found)} layers; it has {stored.channels}.")
    layers = stored.channel_last()
    sizes = {value: 0 for value, _ in chosen}
    for value, segment in chosen:
        sizes[value] += int(np.count_nonzero(layers[..., segment.layer] == segment.value))
    labels = np.zeros(stored.shape, np.uint16 if len(names) > 255 else np.uint8)
    overlap = 0
    for value, segment in sorted(chosen, key=lambda one: -sizes[one[0]]):
        inside = layers[..., segment.layer] == segment.value
        overlap += int(np.count_nonzero(inside & (labels != 0) & (labels != value)))
        labels[inside] = value
    remarks = [f"segments overlap in {overlap} voxels: the smaller one is kept"] if overlap else []
    nameless = _nameless(layers, found)
    if nameless:
        remarks.append(f"{nameless} voxels have values of no segment; they are background")
    result = _on_grid(Volume(labels, stored.affine), grid, path)
    lost = int(np.count_nonzero(labels)) - int(np.count_nonzero(result.array))
    if lost:
        remarks.append(f"{lost} voxels of segments lie outside of the image; they are left out")
    return result, {value: names[value - 1] for value in sorted(sizes)}, tuple(remarks)


def _nameless(layers: np.ndarray, found: Sequence[Segment]) -> int:
    count = 0
    for layer in range(layers.shape[-1]):
        known = [0, *(segment.value for segment in found if segment.layer == layer)]
        count += int(np.count_nonzero(~np.isin(layers[..., layer], known)))
    return count


def _on_grid(labels: Volume, grid: Volume, path: Path) -> Volume:
    """Return labels whose voxels are the image's, or a part of them, on the image's grid."""
    from tfseg.io.dicom_out.nearest import nearest

    index = np.linalg.inv(grid.affine) @ labels.affine
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in labels.shape])).reshape(3, -1)
    exact = np.rint(index)
    off = (index - exact) @ np.vstack([corners, np.ones(corners.shape[1])])
    if np.abs(off).max() > _ALIGNED or abs(np.linalg.det(exact[:3, :3])) != 1:
        raise DataError(
            f"{path}: the voxels of a segmentation must be those of its image, or a part of them; "
            "they are not. Export it from 3D Slicer with the image as reference volume."
        )
    result = nearest(labels.array, grid.affine @ exact, grid.affine, grid.shape)
    if labels.array.any() and not result.any():
        raise DataError(
            f"{path}: a segment must lie within the image; none does. It belongs to another image."
        )
    return grid.with_array(result)
