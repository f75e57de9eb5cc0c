"""RT Structure Set as a label map on the grid of an image (PS3.3 A.19.3).

Where structures overlap, the smaller one is kept: organs lie within the body's outline, tumours
within organs. Contours are combined by the even-odd rule, so inner ones are holes whether they
are typed ``CLOSED_PLANAR`` or ``CLOSEDPLANAR_XOR`` or joined by a keyhole (C.8.8.6.3). Files are
not trusted: sizes are limited and every fault is a :class:`~tfseg.errors.DataError`.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom import opened
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.dataset import read_dataset
from tfseg.io.dicom.frames import FURTHEST_MM
from tfseg.io.dicom_out.belonging import (
    Identity,
    belonging,
    frame_of,
    image_header,
    references_of,
)
from tfseg.io.dicom_out.contours import within_another
from tfseg.io.dicom_out.one_file import one_file
from tfseg.io.dicom_out.rtstruct import STORAGE
from tfseg.io.dicom_out.solid import (
    Box,
    Budget,
    Slabs,
    Stack,
    slabs_of,
    slices_of,
    smallest_step,
    stack_of,
    voxels,
)
from tfseg.io.dicom_out.stamp import text
from tfseg.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_MOST_BYTES = 1 << 30
_MOST_POINTS = 1 << 24  # five times what the largest of clinical files have
_MOST_STRUCTURES = 4096
_LONGEST_NUMBER = 64  # characters; a decimal string has 16, careless writers' have 25
_HIGHEST = 65535  # value of a label
_THICK = 1.5  # slices of the image: a slab of more is worth a remark


_Packed = tuple[Box, tuple[int, ...], NDArray[np.uint8]]


@dataclass(frozen=True)
class _Structure:
    """A region of interest as the file has it.

    Attributes:
        number: ROI Number.
        name: ROI Name on one line.
        contours: closed ones, (n, 3) in LPS mm each.
        step_mm: distance of the planes, where the file states it.
        frame: FrameOfReferenceUID that it is drawn in; empty where the file does not say.
        is_xor: whether its contours say that those within others are holes.
    """

    number: int
    name: str
    contours: tuple[NDArray[np.float64], ...]
    step_mm: float | None
    frame: str
    is_xor: bool


@dataclass(frozen=True)
class _Solid:
    """A structure on its way into a grid, with the value to paint."""

    name: str
    value: int
    stack: Stack
    slabs: Slabs


def read_rtstruct(
    path: str | os.PathLike[str],
    grid: Volume,
    *,
    names: Sequence[str] | None = None,
    image: str | os.PathLike[str] | None = None,
) -> tuple[Volume, dict[int, str], tuple[str, ...]]:
    """Read structures as a label map.

    A voxel belongs to a structure when its centre lies in the slab of a contour's plane (see
    :mod:`.solid`) and inside the contour or on it. Planes are matched in mm, whatever the
    orientation of the image.

    Args:
        path: an RTSTRUCT file, or a folder or zip that holds one.
        grid: a volume on the grid to fill; its voxels do not matter.
        names: structures to read, case and blanks at the ends aside; they become the values 1,
            2, ... in this order. Without it all are read and the values are the ROI numbers,
            or 1, 2, ... in the file's order where these are no unique numbers to 65535.
        image: where the image was read from. If that is DICOM, both are compared: patient,
            frame of reference, and which series the structures refer to.

    Returns:
        The label map (unsigned, 0 outside), the name of each value, and remarks: sentences on
        what was left out, and on what was decided where the file is ambiguous.

    Raises:
        DataError: no such file or none of that kind; damaged, or beyond the limits; none of
            ``names`` in it; or contours, none of which lies within the image.
    """
    path = Path(path)
    remarks: list[str] = []
    parsed, refers = _parsed(path, remarks)
    chosen = _chosen(parsed, names, path, remarks)
    header = image_header(image)
    for frame, own in refers.items():
        those = [one.name for one, _ in chosen if one.frame == frame]
        what = "structure set" if len(refers) == 1 else f"structure {', '.join(those[:5])}"
        if those:
            remarks += belonging(path, what, header, own)
    solids = _solids(chosen, grid, path, remarks)
    highest = max((value for _, value in chosen), default=0)
    array = np.zeros(grid.shape, np.uint8 if highest <= 255 else np.uint16)
    _paint(array, solids, grid, path, remarks)
    if solids and not array.any():
        place = ", ".join(f"{number:.1f}" for number in grid.origin_mm)
        raise DataError(
            f"{path}: a contour must lie within the image of {grid.shape} voxels from ({place}) "
            "mm; none does. The structures belong to another image."
        )
    return grid.with_array(array), {value: one.name for one, value in chosen}, tuple(remarks)


def _parsed(path: Path, remarks: list[str]) -> tuple[list[_Structure], dict[str, Identity]]:
    """Read the file: structures, and for each frame of reference what it refers to."""
    with opened(path) as place, lenient():
        file = one_file(place, path, "RTSTRUCT")
        size = file.stat().st_size
        if size > _MOST_BYTES:
            raise DataError(f"{path}: an RTSTRUCT has at most {_MOST_BYTES} bytes; got {size}.")
        try:
            dataset = _dataset(file, path)
            found = _structures(dataset, path, remarks)
            frames = dict.fromkeys(one.frame for one in found)
            return found, {frame: references_of(dataset, frame) for frame in frames}
        except DataError:
            raise
        except damage() as error:
            said = reason(error).replace(str(file), "the file")
            raise DataError(f"{path}: the RTSTRUCT is damaged ({said}). Copy it again.") from error


def _dataset(file: Path, path: Path) -> Dataset:

    dataset = read_dataset(file)
    if dataset.get("SOPClassUID") != STORAGE:
        kind = text(str(dataset.get("Modality") or "none"))
        raise DataError(
            f"{path}: an RT Structure Set is needed; got a file of modality {kind}, or no DICOM."
        )
    return dataset


def _structures(dataset: Dataset, path: Path, remarks: list[str]) -> list[_Structure]:
    rois = dataset.get("StructureSetROISequence") or []
    if not 1 <= len(rois) <= _MOST_STRUCTURES:
        raise DataError(
            f"{path}: an RTSTRUCT has 1 to {_MOST_STRUCTURES} structures; got {len(rois)}. Export "
            "it again."
        )
    drawn: dict[int, list[Any]] = {}
    for item in dataset.get("ROIContourSequence") or []:
        drawn.setdefault(int(item.ReferencedROINumber), []).append(item)
    found, points, usual = [], 0, frame_of(dataset)
    for roi in rois:
        number = int(roi.ROINumber)
        name = text(str(roi.get("ROIName") or "")) or f"ROI {number}"
        items = drawn.get(number, [])
        contours, said = _contours(items, f"{path}: structure {name}")
        points += sum(map(len, contours))
        if points > _MOST_POINTS:
            raise DataError(f"{path}: an RTSTRUCT has at most {_MOST_POINTS} points; got more.")
        remarks += [f"{name}: {one}" for one in said]
        frame = str(roi.get("ReferencedFrameOfReferenceUID") or usual).strip()
        found.append(
            _Structure(number, name, contours, _stated_step(items), frame, _are_xor(items))
        )
    numbers = {one.number for one in found}
    if len(numbers) < len(found) and drawn:
        raise DataError(
            f"{path}: each structure needs a ROINumber of its own, by which its contours are found "
            "(PS3.3 C.8.8.5); two have the same. Export it again."
        )
    if strange := set(drawn) - numbers:
        remarks.append(f"contours of {len(strange)} structures that have no name are left out")
    return found


def _are_xor(items: list[Any]) -> bool:
    kinds = {
        str(contour.get("ContourGeometricType"))
        for item in items
        for contour in item.get("ContourSequence") or []
    }
    return "CLOSED_PLANAR" not in kinds


def _stated_step(items: list[Any]) -> float | None:
    """Return SpacingBetweenSlices of the planes that contours were drawn on, if it is given."""
    steps = set()
    for item in items:
        for planes in item.get("SourcePixelPlanesCharacteristicsSequence") or []:
            steps.add(float(planes.get("SpacingBetweenSlices") or 0))
    step = steps.pop() if len(steps) == 1 else 0.0
    return step if 0 < step <= FURTHEST_MM else None


def _contours(items: list[Any], what: str) -> tuple[tuple[NDArray[np.float64], ...], list[str]]:
    """Return the closed contours of a structure, and what was left out."""
    closed, others, short, other_count = [], Counter[str](), 0, 0
    for item in items:
        for contour in item.get("ContourSequence") or []:
            kind = str(contour.get("ContourGeometricType") or "no type")
            if kind not in _CLOSED:
                others[text(kind)] += 1
                continue
            points = _points(contour, what)
            other_count += str(contour.get("NumberOfContourPoints") or len(points)) != str(
                len(points)
            )
            if len(points) < 3:
                short += 1
            else:
                closed.append(points)
    said = [f"{count} contours of type {kind} left out" for kind, count in others.items()]
    if short:
        said.append(f"{short} contours of fewer than 3 points left out")
    if other_count:
        said.append(f"{other_count} contours have other numbers of points than they say")
    if not closed:
        said.append("it has no closed contour")
    return tuple(closed), said


def _points(contour: Any, what: str) -> NDArray[np.float64]:
    """Return Contour Data as (n, 3); numbers are parsed here, since pydicom takes much longer."""
    element = contour.get_item("ContourData")
    value = b"" if element is None or element.value is None else element.value
    if not isinstance(value, bytes):  # parsed already
        value = "\\".join(map(str, value)).encode()
    words = value.strip(b" \0").split(b"\\") if value.strip(b" \0") else []
    if len(words) % 3 or any(len(word) > _LONGEST_NUMBER for word in words):
        raise DataError(
            f"{what}: ContourData must be triplets of numbers; a contour has {len(words)} values."
        )
    try:
        numbers = np.fromiter(map(float, words), np.float64, len(words))
    except ValueError as error:
        raise DataError(f"{what}: ContourData must be numbers ({reason(error)}).") from error
    if not (np.abs(numbers) <= FURTHEST_MM).all():  # NaN is not
        raise DataError(
            f"{what}: coordinates must be finite and at most {FURTHEST_MM:g} mm; "
            f"got {numbers[~(np.abs(numbers) <= FURTHEST_MM)][0]:g}."
        )
    return numbers.reshape(-1, 3)


def _chosen(
    structures: list[_Structure], names: Sequence[str] | None, path: Path, remarks: list[str]
) -> list[tuple[_Structure, int]]:
    """Return the structures to read and the value of each."""
    if names is None:
        numbers = [one.number for one in structures]
        if len(set(numbers)) != len(numbers) or not 1 <= min(numbers) <= max(numbers) <= _HIGHEST:
            numbers = list(range(1, len(structures) + 1))
            remarks.append(f"ROI numbers are not unique or not 1 to {_HIGHEST}: numbered in order")
        return list(zip(structures, numbers, strict=True))
    wanted = {_key(name): value for value, name in enumerate(names, start=1)}
    chosen = [(one, wanted[_key(one.name)]) for one in structures if _key(one.name) in wanted]
    if not chosen:
        raise DataError(
            f"{path}: none of the structures {', '.join(names)} is there; the file has "
            f"{', '.join(one.name for one in structures[:20])}. Correct the names."
        )
    there = {value for _, value in chosen}
    remarks += [f"{name}: no such structure" for name in names if wanted[_key(name)] not in there]
    left = [one.name for one in structures if _key(one.name) not in wanted]
    if left:
        remarks.append(f"not asked for: {', '.join(left)}")
    return chosen


def _key(name: str) -> str:
    return name.strip().casefold()


def _solids(
    chosen: list[tuple[_Structure, int]], grid: Volume, path: Path, remarks: list[str]
) -> list[_Solid]:
    """Return the structures that have contours, with their planes."""
    stacks = [
        (one, value, stack_of(one.contours, grid, f"{path}: structure {one.name}"))
        for one, value in chosen
        if one.contours
    ]
    found = []
    for one, value, stack in stacks:
        # Heights can be compared where planes lie across the same axis of the grid.
        alike = [other for _, _, other in stacks if other.axis == stack.axis]
        step_mm = smallest_step([stack] if stack.axis is None else alike)
        slabs = slabs_of(stack, one.step_mm, step_mm)
        planes = ([stack.contours[index] for index in members] for members in slabs.members)
        if not one.is_xor and any(map(within_another, planes)):
            remarks.append(
                f"{one.name}: contours within others are taken as holes, which CLOSED_PLANAR does "
                "not say"
            )
        thickest = float((slabs.below + slabs.above).max())
        if one.step_mm is None and thickest > _THICK * stack.slice_mm:
            remarks.append(
                f"{one.name}: its contours stand for up to {thickest:.4g} mm each, where the "
                f"image's slices are {stack.slice_mm:.4g} mm apart"
            )
        if stack.axis is not None:
            first, last = slices_of(slabs, stack.slice_mm, grid.shape[stack.axis])
            lost = int((first >= last).sum())
            if 0 < lost < len(first):
                remarks.append(
                    f"{one.name}: {lost} of its {len(first)} planes show nowhere: they lie outside "
                    "the image or between its slices"
                )
        found.append(_Solid(one.name, value, stack, slabs))
    return found


def _paint(
    array: NDArray[Any], solids: list[_Solid], grid: Volume, path: Path, remarks: list[str]
) -> None:
    """Set the voxels of each structure, the largest first, so that smaller ones stay on top."""
    budget = Budget(path, grid)
    counts = []
    kept: dict[int, list[_Packed]] = {}  # oblique ones: they cost ten times as much
    for index, one in enumerate(solids):
        what = f"{path}: structure {one.name}"
        packed, count = kept.setdefault(index, []), 0
        for box, mask in voxels(one.stack, one.slabs, grid, what, budget):
            count += int(np.count_nonzero(mask))
            if one.stack.axis is None:
                packed.append((box, mask.shape, np.packbits(mask)))
        counts.append(count)
        if not count:
            remarks.append(f"{one.name}: no voxel of the image lies in it")
    covered = 0
    for index in sorted(range(len(solids)), key=lambda index: -counts[index]):
        one = solids[index]
        what = f"{path}: structure {one.name}"
        again = one.stack.axis is not None
        masks = (
            voxels(one.stack, one.slabs, grid, what, budget) if again else _unpacked(kept[index])
        )
        for box, mask in masks:
            part = array[box]
            covered += int(np.count_nonzero(mask & (part != 0) & (part != one.value)))
            part[mask] = one.value
    if covered:
        remarks.append(f"structures overlap in {covered} voxels: the smaller one is kept")


def _unpacked(packed: list[_Packed]) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    for box, shape, bits in packed:
        yield box, np.unpackbits(bits, count=math.prod(shape)).reshape(shape).view(np.bool_)
