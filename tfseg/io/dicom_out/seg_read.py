"""Read a DICOM Segmentation as a label map on the grid of an image (PS3.3 A.51, C.8.20).

Every voxel of the image whose centre lies in the slab of a frame (see :mod:`.seg_stack`) takes
the nearest pixel of it. Frames may be missing: writers leave out those without a label.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom import opened
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.dataset import read_dataset
from tfseg.io.dicom.frames import FURTHEST_MM
from tfseg.io.dicom_out.belonging import belonging, frame_of, image_header, references_of
from tfseg.io.dicom_out.nearest import nearest
from tfseg.io.dicom_out.one_file import one_file
from tfseg.io.dicom_out.seg_rules import (
    CLASSES,
    Meaning,
    meaning_of,
    require_length,
    segment_names,
)
from tfseg.io.dicom_out.seg_stack import SegFrame, Stack, flat, lay, on_grid
from tfseg.io.dicom_out.stamp import text
from tfseg.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_THICKNESSES = 64
_MOST_VOXELS = 1 << 31
_MOST_GROWTH = 1000  # times the file's size: of RLE, 64 is the most
_ALWAYS_ALLOWED = 1 << 24


def read_seg(
    path: str | os.PathLike[str],
    grid: Volume,
    *,
    names: Sequence[str] | None = None,
    image: str | os.PathLike[str] | None = None,
) -> tuple[Volume, dict[int, str], tuple[str, ...]]:
    """Read a Segmentation onto the grid of an image.

    Where segments overlap, the smaller one is kept: a tumour lies in its organ. Of fractions it
    is the highest, if at least a half.

    Args:
        path: a SEG (binary, fractional or label map), or a folder or zip that holds one.
        grid: the image, or anything on its grid.
        names: segments to read, case and blanks at the ends aside; they become the values 1, 2,
            ... in this order. Without it all are read and the values are the segment numbers.
        image: where the image was read from. If that is DICOM, both are compared: patient,
            frame of reference, and which series the Segmentation refers to.

    Returns:
        The label map (z, y, x) uint8, or uint16 beyond 255; the name of each value; and
        sentences on what a person should know.

    Raises:
        DataError: no Segmentation, damaged, of a whole slide, frames that make no stack, none of
            ``names`` in it, or nothing of it within the image.
    """
    path = Path(path)
    with opened(path) as place, lenient():
        try:
            return _read(path, one_file(place, path, "SEG"), grid, names, image)
        except DataError:
            raise
        except damage() as error:
            raise DataError(f"{path}: the Segmentation is damaged ({reason(error)}).") from error


def _read(
    path: Path,
    file: Path,
    grid: Volume,
    names: Sequence[str] | None,
    image: str | os.PathLike[str] | None,
) -> tuple[Volume, dict[int, str], tuple[str, ...]]:

    dataset = read_dataset(file, pixels=True)
    if dataset.get("SOPClassUID") not in CLASSES:
        kind = text(str(dataset.get("Modality") or "none"))
        raise DataError(
            f"{path}: a DICOM Segmentation is needed; got a file of modality {kind}, or no DICOM."
        )
    meaning = meaning_of(path, dataset)
    half, remarks = meaning.least, list(meaning.remarks)
    described = _described(path, dataset)
    values, kept = _values(path, described, names)
    frames = _frames(path, dataset, meaning.kind)
    _check_size(path, file, dataset, len(frames))
    _check_segments(path, {frame.segment for frame in frames} - {0}, described)
    header = image_header(image)
    remarks += belonging(path, "Segmentation", header, references_of(dataset, frame_of(dataset)))
    if frames[0].position is None:
        if grid.shape != (1, dataset.Rows, dataset.Columns):
            raise DataError(
                f"{path}: frames without a position belong on one picture of their size, "
                f"{dataset.Rows} x {dataset.Columns}; the image is {grid.shape}."
            )
        layers: dict[float | None, list[int]] = {None: list(range(len(frames)))}
    else:
        layers = {}
        for index, frame in enumerate(frames):
            layers.setdefault(frame.stated_mm, []).append(index)
    if len(layers) > _MOST_THICKNESSES:
        raise DataError(
            f"{path}: frames may have {_MOST_THICKNESSES} thicknesses; they have {len(layers)}."
        )
    result = np.zeros(grid.shape, np.uint16 if max(values.values(), default=0) > 255 else np.uint8)
    overlap, lost, drawn, aside = 0, 0, 0, False
    for indices in layers.values():  # frames of one thickness
        one = [frames[index] for index in indices]
        if one[0].position is None:
            stack = flat(len(one), grid.affine)
        else:
            stack = lay(path, one, grid.affine, header.thickness_mm if header else None)
            aside |= not on_grid(stack, grid.affine, grid.shape)
        remarks += [said for said in stack.remarks if said not in remarks]
        labels, twice = _merged(path, dataset, frames, indices, stack, values, meaning)
        used = labels.reshape(len(labels), -1).any(axis=1)
        shown = stack.shown(grid.affine, grid.shape)
        drawn += int(used.sum())
        lost += 0 if shown is None else int((used & ~shown).sum())
        overlap += twice + _lay_over(
            result, nearest(labels, stack.affine, grid.affine, grid.shape, stack.planes)
        )
    if overlap:
        remarks.append(
            f"segments overlap in {overlap} voxels: the "
            f"{'one with the higher fraction' if half > 1 else 'smaller one'} is kept"
        )
    if drawn and not result.any():
        origin = ", ".join(f"{number:.1f}" for number in grid.origin_mm)
        raise DataError(
            f"{path}: a segment must lie within the image of {grid.shape} voxels from ({origin}) "
            f"mm; none does. The {drawn} planes lie beside it or between its slices: the "
            "Segmentation belongs to another image."
        )
    if lost:
        remarks.append(
            f"{lost} of {drawn} planes show nowhere: they lie outside the image or between its "
            "slices"
        )
    if aside:
        remarks.append(
            "its pixels are on another grid than the image's: each voxel takes the nearest"
        )
    return grid.with_array(result), kept, tuple(remarks)


def _lay_over(result: NDArray[Any], layer: NDArray[Any]) -> int:
    """Draw a layer into the result, the smaller label on top; return how many voxels overlap."""
    both = (result > 0) & (layer > 0) & (result != layer)
    sizes = np.bincount(result.ravel(), minlength=1 << 16)
    sizes += np.bincount(layer.ravel(), minlength=1 << 16)
    taken = (layer > 0) & ~(both & (sizes[layer] > sizes[result]))
    result[taken] = layer[taken]
    return int(np.count_nonzero(both))


def _values(
    path: Path, found: dict[int, str], names: Sequence[str] | None
) -> tuple[dict[int, int], dict[int, str]]:
    """Return segment number to value, and value to name."""
    if names is None:
        return {number: number for number in found}, found
    value_of = {name.strip().casefold(): value for value, name in enumerate(names, start=1)}
    values = {
        number: value_of[name.strip().casefold()]
        for number, name in found.items()
        if name.strip().casefold() in value_of
    }
    if not values:
        raise DataError(
            f"{path}: needs a segment named {' or '.join(names)}; it has "
            f"{', '.join(found.values()) or 'none'}."
        )
    return values, {value: names[value - 1] for value in sorted(set(values.values()))}


def _described(path: Path, dataset: Dataset) -> dict[int, str]:
    try:
        return segment_names(dataset)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _check_segments(path: Path, found: set[int], described: Container[int]) -> None:
    if strange := sorted(number for number in found if number not in described):
        raise DataError(
            f"{path}: every segment needs an item of SegmentSequence; number {strange[0]} has "
            f"pixels and none. The file is incomplete: export it again."
        )


def _frames(path: Path, dataset: Dataset, kind: str) -> list[SegFrame]:
    """Return what the functional groups say of each frame (PS3.3 C.7.6.16)."""
    if "TotalPixelMatrixRows" in dataset:
        raise DataError(f"{path}: a Segmentation of a volume is needed; this is of a whole slide.")
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    count = int(dataset.get("NumberOfFrames") or 0)
    if count < 1:
        raise DataError(
            f"{path}: a Segmentation has at least one frame (PS3.3 C.7.6.6.1.1); got {count}. "
            "Where nothing was found, its frames are empty."
        )
    if len(groups) != count:
        raise DataError(
            f"{path}: each of the {count} frames needs a functional group; there are {len(groups)}."
        )
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    return [_frame(path, group, shared, kind == "LABELMAP") for group in groups]


def _frame(path: Path, own: Any, shared: Any, is_map: bool) -> SegFrame:
    def numbers(sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        for group in (own, shared):
            items = group.get(sequence)
            value = items[0].get(keyword) if items else None
            if value is not None and value != "":
                found = tuple(float(one) for one in (value if count > 1 else [value]))
                if len(found) != count or not all(abs(one) <= FURTHEST_MM for one in found):
                    raise DataError(
                        f"{path}: {keyword} must be {count} numbers of at most {FURTHEST_MM:g}; "
                        f"got {value}."
                    )
                return found
        return None

    segment = numbers("SegmentIdentificationSequence", "ReferencedSegmentNumber", 1)
    if not is_map and (segment is None or not 1 <= segment[0] <= 65535):
        raise DataError(
            f"{path}: every frame belongs to a segment from 1 to 65535; one has {segment}."
        )
    step, thickness = (
        numbers("PixelMeasuresSequence", keyword, 1)
        for keyword in ("SpacingBetweenSlices", "SliceThickness")
    )
    return SegFrame(
        position=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing=numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        step_mm=abs(step[0]) or None if step else None,
        thickness_mm=abs(thickness[0]) or None if thickness else None,
        segment=0 if is_map or segment is None else int(segment[0]),
    )


def _check_size(path: Path, file: Path, dataset: Dataset, frames: int) -> None:
    voxels = int(dataset.Rows) * int(dataset.Columns) * frames
    most = max(_ALWAYS_ALLOWED, _MOST_GROWTH * file.stat().st_size)
    if not 0 < voxels <= min(most, _MOST_VOXELS):
        raise DataError(
            f"{path}: a file of {file.stat().st_size} bytes may hold at most "
            f"{min(most, _MOST_VOXELS)} voxels; its header says {voxels}."
        )
    require_length(path, dataset, frames)


def _merged(
    path: Path,
    dataset: Dataset,
    frames: list[SegFrame],
    indices: list[int],
    stack: Stack,
    values: dict[int, int],
    meaning: Meaning,
) -> tuple[NDArray[Any], int]:
    """Return the planes' label map and how many voxels overlap."""
    table = np.zeros(1 << 16, np.uint16 if max(values.values(), default=0) > 255 else np.uint8)
    for number, value in values.items():
        table[number] = value
    where = dict(zip(indices, stack.where.tolist(), strict=True))
    drawn = [
        index for index in indices if frames[index].segment == 0 or table[frames[index].segment] > 0
    ]
    order = sorted(drawn, key=lambda index: int(table[frames[index].segment]))
    labels, overlap, sizes = _draw(path, dataset, frames, where, stack.count, table, meaning, order)
    if overlap:  # once more, the smaller on top
        order = sorted(order, key=lambda index: -int(sizes[table[frames[index].segment]]))
        labels, overlap, _ = _draw(path, dataset, frames, where, stack.count, table, meaning, order)
    return labels, overlap


def _draw(
    path: Path,
    dataset: Dataset,
    frames: list[SegFrame],
    where: dict[int, int],
    planes: int,
    table: NDArray[Any],
    meaning: Meaning,
    order: list[int],
) -> tuple[NDArray[Any], int, NDArray[np.intp]]:
    """Draw frames in an order, later ones on top; return also each value's number of pixels."""
    shape = (planes, int(dataset.Rows), int(dataset.Columns))
    labels = np.zeros(shape, table.dtype)
    best = np.zeros(shape, np.uint8) if meaning.least > 1 else None
    described = set(segment_names(dataset)) | {int(dataset.get("PixelPaddingValue") or 0)}
    masks_of_bits = meaning.kind == "BINARY" and int(dataset.BitsAllocated) == 1
    seen: set[int] = set()
    sizes = np.zeros(1 << 16, np.intp)
    overlap = 0
    for index, pixels in _pixels(dataset, order):
        if pixels.shape != shape[1:]:
            raise DataError(f"{path}: frames must be {shape[1:]} gray pixels; got {pixels.shape}.")
        plane, segment = labels[where[index]], frames[index].segment
        if segment == 0:
            _check_segments(path, set(np.unique(pixels).tolist()) - {0}, described)
        else:
            if not masks_of_bits:
                seen |= set(np.unique(pixels).tolist()) - {0}
                _check_pixels(path, seen, meaning)
        inside = pixels > 0 if segment == 0 else pixels >= meaning.least
        value = table[pixels] if segment == 0 else np.broadcast_to(table[segment], pixels.shape)
        inside &= value > 0
        sizes += np.bincount(value[inside], minlength=len(sizes))
        before = plane[inside]
        overlap += int(np.count_nonzero((before > 0) & (before != value[inside])))
        if best is not None:
            most = best[where[index]]
            inside &= pixels >= most
            most[inside] = pixels[inside]
        plane[inside] = value[inside]
    return labels, overlap, sizes


def _check_pixels(path: Path, seen: set[int], meaning: Meaning) -> None:
    """Refuse pixel values, 0 aside, that the header has no meaning for."""
    high = max(seen, default=0)
    if meaning.most is not None and high > meaning.most:
        raise DataError(
            f"{path}: fractions must be at most MaximumFractionalValue, {meaning.most}; one is "
            f"{high}. The file is damaged, or its header wrong."
        )
    if meaning.kind == "BINARY" and len(seen) > 1:
        raise DataError(
            f"{path}: pixels of a BINARY Segmentation are 0 or 1; these have several values to "
            f"{high}. Export it as FRACTIONAL or LABELMAP."
        )


def _pixels(dataset: Dataset, order: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the frames' pixels in the given order."""
    if dataset.BitsAllocated == 1 and not dataset.file_meta.TransferSyntaxUID.is_compressed:
        # Bits run on from frame to frame, without filling (PS3.5 8.1.1).
        size = int(dataset.Rows) * int(dataset.Columns)
        packed = np.frombuffer(dataset.PixelData, np.uint8)
        for index in order:
            first, last = index * size // 8, ((index + 1) * size + 7) // 8
            bits = np.unpackbits(packed[first:last], bitorder="little")
            start = index * size - first * 8
            yield index, bits[start : start + size].reshape(dataset.Rows, dataset.Columns)
        return
    from pydicom.pixels import iter_pixels

    yield from zip(order, iter_pixels(dataset, indices=order, raw=True), strict=True)
