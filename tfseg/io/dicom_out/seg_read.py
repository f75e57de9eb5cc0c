"""Read a DICOM Segmentation as a label map on the grid of an image (PS3.3 A.51, C.8.20).

The frames become one stack, regular along the line of their positions (sheared where slices are
tilted), and every voxel of the image takes the nearest of it. Frames may be missing: writers
leave out those without a label.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.geometry import Affine
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.frames import FURTHEST_MM
from tfseg.io.dicom.steps import SAME_PLACE_MM, STEP_TOLERANCE
from tfseg.io.dicom_out.nearest import nearest
from tfseg.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # SEG, label map SEG
_MOST_VOXELS = 1 << 31
_MOST_GROWTH = 1000  # times the file's size: of RLE, 64 is the most
_ALWAYS_ALLOWED = 1 << 24
_SAME_DIRECTION = 1e-3
_MOST_ADDED = 4  # times the planes there are, where their spacing is uneven
_MOST_GAPS = 10_000  # planes left out between two that are there

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class _Frame:
    """Where one frame lies and what it shows; segment 0: the pixels are segment numbers."""

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    step_mm: float | None
    segment: int


def read_seg(
    path: str | os.PathLike[str], grid: Volume
) -> tuple[Volume, dict[int, str], tuple[str, ...]]:
    """Read a Segmentation onto the grid of an image.

    A voxel has the number of its segment, 0 outside all of them. Where segments overlap, the one
    with the higher number is kept; of fractions, the highest, if it is at least a half.

    Args:
        path: the SEG file: binary, fractional or label map.
        grid: the image, or anything on its grid.

    Returns:
        The label map (z, y, x) uint8, or uint16 beyond 255 segments; segment number to label;
        and sentences on what a person should know.

    Raises:
        DataError: no Segmentation, damaged, of a whole slide, or frames that make no stack.
    """
    path = Path(path)
    try:
        with lenient():
            return _read(path, grid)
    except DataError:
        raise
    except damage() as error:
        raise DataError(f"{path}: the Segmentation is damaged ({reason(error)}).") from error


def _read(path: Path, grid: Volume) -> tuple[Volume, dict[int, str], tuple[str, ...]]:
    import pydicom

    dataset = pydicom.dcmread(path)
    if dataset.get("SOPClassUID") not in CLASSES:
        raise DataError(
            f"{path}: a DICOM Segmentation is needed; this is of class "
            f"{dataset.get('SOPClassUID', 'none')}."
        )
    names = {
        int(item.SegmentNumber): str(item.get("SegmentLabel") or f"segment {item.SegmentNumber}")
        for item in dataset.get("SegmentSequence", ())
        if int(item.SegmentNumber) > 0
    }
    frames = _frames(path, dataset)
    _check_size(path, dataset, len(frames))
    half = _half(dataset)
    remarks: list[str] = []
    if dataset.get("SegmentationType") == "FRACTIONAL":
        remarks.append("fractions of at least a half count as the segment")
    if frames[0].position is None:
        where = np.zeros(len(frames), np.intp)
        if grid.shape != (1, dataset.Rows, dataset.Columns):
            raise DataError(
                f"{path}: frames without a position belong on one picture of their size, "
                f"{dataset.Rows} x {dataset.Columns}; the image is {grid.shape}."
            )
        count, affine = 1, grid.affine
        source: NDArray[np.intp] | None = None
    else:
        where, count, affine, source, said = _stack(path, frames)
        remarks += said
    labels, overlap = _merged(path, dataset, frames, where, count, half)
    if overlap:
        remarks.append(
            f"segments overlap in {overlap} voxels: the one with the higher "
            f"{'fraction' if half > 1 else 'number'} is kept"
        )
    labels = labels[:-1] if source is None else labels[source]  # -1: the empty plane
    result = nearest(labels, affine, grid.affine, grid.shape)
    if labels.any() and not result.any():
        remarks.append("nothing of it lies in the image")
    return grid.with_array(result), names, tuple(remarks)


def _frames(path: Path, dataset: Dataset) -> list[_Frame]:
    """Return what the functional groups say of each frame (PS3.3 C.7.6.16)."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    count = int(dataset.get("NumberOfFrames") or 0)
    if not groups or len(groups) != count:
        raise DataError(
            f"{path}: each of the {count} frames needs a functional group; there are {len(groups)}."
        )
    if "TotalPixelMatrixRows" in dataset:
        raise DataError(f"{path}: a Segmentation of a volume is needed; this is of a whole slide.")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    is_map = dataset.get("SegmentationType") == "LABELMAP"
    return [_frame(path, group, shared, is_map) for group in groups]


def _frame(path: Path, own: Any, shared: Any, is_map: bool) -> _Frame:
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
    step = numbers("PixelMeasuresSequence", "SpacingBetweenSlices", 1) or numbers(
        "PixelMeasuresSequence", "SliceThickness", 1
    )
    return _Frame(
        position=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing=numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        step_mm=abs(step[0]) or None if step else None,
        segment=0 if is_map or segment is None else int(segment[0]),
    )


def _check_size(path: Path, dataset: Dataset, frames: int) -> None:
    voxels = int(dataset.Rows) * int(dataset.Columns) * frames
    most = max(_ALWAYS_ALLOWED, _MOST_GROWTH * path.stat().st_size)
    if not 0 < voxels <= min(most, _MOST_VOXELS):
        raise DataError(
            f"{path}: a file of {path.stat().st_size} bytes may hold at most "
            f"{min(most, _MOST_VOXELS)} voxels; its header says {voxels}."
        )


def _half(dataset: Dataset) -> int:
    """Return the least pixel value that counts: 1, or half of what a fraction of 1 is."""
    if dataset.get("SegmentationType") != "FRACTIONAL":
        return 1
    return max(1, (int(dataset.get("MaximumFractionalValue") or 255) + 1) // 2)


def _stack(
    path: Path, frames: list[_Frame]
) -> tuple[NDArray[np.intp], int, Affine, NDArray[np.intp] | None, list[str]]:
    """Lay the frames into a stack.

    Returns:
        The plane of each frame; the number of planes; the affine of the regular stack; which
        plane each of its slices takes, or ``None`` where they are the same; remarks.
    """
    first = frames[0]
    if first.orientation is None or first.spacing is None or min(first.spacing) <= 0:
        raise DataError(
            f"{path}: frames need an ImageOrientationPatient and a positive PixelSpacing; got "
            f"{first.orientation} and {first.spacing}."
        )
    for frame in frames:
        if (
            frame.position is None
            or frame.orientation is None
            or frame.spacing is None
            or not np.allclose(frame.orientation, first.orientation, rtol=0, atol=_SAME_DIRECTION)
            or not np.allclose(frame.spacing, first.spacing, rtol=1e-3, atol=0)
        ):
            raise DataError(
                f"{path}: all frames must have a position, and one orientation and spacing; one "
                f"has {frame.position}, {frame.orientation} and {frame.spacing}."
            )
    row, column = np.array(first.orientation).reshape(2, 3)
    normal = np.cross(row, column)
    if not np.isclose(np.linalg.norm(normal), 1, atol=1e-2):
        raise DataError(
            f"{path}: ImageOrientationPatient must be two unit vectors at right angles; got "
            f"{first.orientation}."
        )
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    new = np.r_[False, np.diff(heights[order]) > SAME_PLACE_MM]
    where = np.empty(len(frames), np.intp)
    where[order] = np.cumsum(new)
    chosen = order[np.r_[0, np.flatnonzero(new)]]
    places, levels = positions[chosen], heights[chosen] - heights[chosen[0]]
    affine = np.eye(4)
    affine[:3, 1], affine[:3, 2] = column * first.spacing[0], row * first.spacing[1]
    affine[:3, 3] = places[0]
    if len(levels) == 1:
        affine[:3, 0] = normal * (first.step_mm or 1.0)
        return where, 1, affine, None, []
    count, source, said = _regular(path, levels, first.step_mm)
    affine[:3, 0] = (places[-1] - places[0]) / (count - 1)
    line = places[0] + levels[:, np.newaxis] / levels[-1] * (places[-1] - places[0])
    if np.linalg.norm(places - line, axis=1).max() > min(first.spacing) / 2:
        raise DataError(f"{path}: the positions of the frames must lie on one line.")
    return where, len(levels), affine, source, said


def _regular(
    path: Path, levels: _Vector, said_mm: float | None
) -> tuple[int, NDArray[np.intp] | None, list[str]]:
    """Return how many slices a regular stack has, and which plane each takes, -1 for none."""
    steps = np.diff(levels)
    for step in (said_mm, float(steps.min())):
        if step is None:
            continue
        share = steps / step
        whole = np.rint(share)
        if (whole < 1).any() or (np.abs(share - whole) > STEP_TOLERANCE * whole).any():
            continue
        if whole.sum() > _MOST_GAPS + len(levels):
            break
        index = np.r_[0, np.cumsum(whole)].astype(np.intp)
        if index[-1] == len(levels) - 1:
            return len(levels), None, []
        source = np.full(index[-1] + 1, -1, np.intp)
        source[index] = np.arange(len(levels))
        return len(source), source, []
    least = max(float(steps.min()), float(levels[-1]) / (_MOST_ADDED * len(levels)))
    count = max(2, round(float(levels[-1]) / least) + 1)
    grid = np.linspace(0, levels[-1], count)
    source = np.searchsorted((levels[1:] + levels[:-1]) / 2, grid).astype(np.intp)
    return (
        count,
        source,
        [
            f"frames are unevenly spaced, by {steps.min():.4g} to {steps.max():.4g} mm: each place "
            "takes the nearest"
        ],
    )


def _merged(
    path: Path,
    dataset: Dataset,
    frames: list[_Frame],
    where: NDArray[np.intp],
    count: int,
    half: int,
) -> tuple[NDArray[Any], int]:
    """Return the planes' label map, an empty plane at the end, and how many voxels overlap."""
    highest = max(frame.segment for frame in frames)
    deep = highest > 255 or int(dataset.BitsAllocated) > 8
    shape = (count + 1, int(dataset.Rows), int(dataset.Columns))
    labels = np.zeros(shape, np.uint16 if deep else np.uint8)
    best = np.zeros(shape, np.uint8) if half > 1 else None
    overlap = 0
    # In the order of segments, so that the higher number is kept whatever the order of frames.
    order = sorted(range(len(frames)), key=lambda index: frames[index].segment)
    for index, plane in _planes(dataset, order):
        if plane.shape != shape[1:]:
            raise DataError(
                f"{path}: frames must be {shape[1:]} pixels of gray; got {plane.shape}."
            )
        place, segment = where[index], frames[index].segment
        if segment == 0:
            overlap += int(np.count_nonzero(labels[place][plane > 0]))
            labels[place][plane > 0] = plane[plane > 0]
            continue
        inside = plane >= half
        overlap += int(np.count_nonzero(labels[place][inside]))
        if best is not None:
            inside &= plane >= best[place]
            best[place][inside] = plane[inside]
        labels[place][inside] = segment
    return labels, overlap


def _planes(dataset: Dataset, order: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
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
