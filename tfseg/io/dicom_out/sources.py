"""The series that a volume was read from: what a result refers to, and where its slices lie.

A result is in the geometry of its source. The reader may have laid a regular grid over tilted or
unevenly spaced slices; :meth:`Source.on_slices` brings a result on that grid back to the slices.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.geometry import Affine, same_grid
from tfseg.io.dicom import the_volume
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.dataset import read_dataset
from tfseg.io.dicom.frames import Frame
from tfseg.io.dicom.grid import place
from tfseg.io.dicom_out.nearest import nearest
from tfseg.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

    from tfseg.io.dicom.stack import Stack

# Without these nothing can be referred to (PS3.3 C.12.1, C.7.2, C.7.3: type 1).
_IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Slice:
    """One slice of the source.

    Attributes:
        header: its file's elements without pixels. Slices of one file share it.
        frame_number: of the slice in its file, from 1; ``None`` where the file has one frame.
        affine: voxel index (0, row, column, 1) to LPS mm.
        is_tile: whether it is a part of a frame, as in a mosaic.
    """

    header: Dataset = field(repr=False)
    frame_number: int | None
    affine: Affine = field(repr=False)
    is_tile: bool


@dataclass(frozen=True)
class Source:
    """The slices that a volume was read from, and its grid.

    Attributes:
        path: what was read.
        slices: in the volume's order, along the normal of the slices.
        rows, columns: size of a slice.
        placed: whether the header says where the slices are; a projection is not in space.
        orientation: ImageOrientationPatient of the first slice, as written there.
        spacing_mm: PixelSpacing of the first slice, between rows and between columns.
        grid_affine: of the volume that :func:`tfseg.io.read_volume` returns.
        grid_shape: (z, y, x) of it.
        corrected: what the reader corrected, to say; empty where the volume has the slices as
            they are.
        even: whether slices follow each other at one distance.
    """

    path: Path
    slices: tuple[Slice, ...] = field(repr=False)
    rows: int
    columns: int
    placed: bool
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    grid_affine: Affine = field(repr=False)
    grid_shape: tuple[int, int, int]
    corrected: tuple[str, ...]
    even: bool

    @property
    def headers(self) -> tuple[Dataset, ...]:
        """The header of each slice; of a multi-frame file or a mosaic, one for all."""
        unique = {id(one.header): one.header for one in self.slices}
        return tuple(unique.values())

    def require_grid(self, result: Volume) -> None:
        """Refuse a result that is not on the volume's grid.

        Raises:
            DataError: it is not.
        """
        if result.shape != self.grid_shape or not same_grid(
            self.grid_affine, result.affine, self.grid_shape
        ):
            raise DataError(
                f"{self.path}: a result must be on the grid of its scan, {self.grid_shape}; got "
                f"{result.shape} or another place. Resample it."
            )

    def on_slices(self, result: Volume) -> Iterator[NDArray[Any]]:
        """Yield a result, (z, y, x[, c]) on the volume's grid, slice by slice of the source.

        Where the reader corrected the geometry, each pixel takes the nearest voxel.
        """
        self.require_grid(result)
        if not self.corrected:
            yield from result.array
            return
        for one in self.slices:
            yield nearest(result.array, result.affine, one.affine, (1, self.rows, self.columns))[0]


def read_source(path: str | os.PathLike[str]) -> Source:
    """Return the slices of the one volume that :func:`tfseg.io.read_volume` reads at ``path``.

    Headers are read whole, patient and all, since results carry them on; pixels are not.

    Raises:
        DataError: no DICOM, several volumes, a geometry that is refused, or a header without
            the identifiers that a reference needs.
    """
    path = Path(path)
    with the_volume(path) as (stack, _, _):
        return source_of(path, stack)


def source_of(path: Path, stack: Stack) -> Source:
    """Return the slices of one volume of several at ``path``; see :func:`read_source`."""
    try:
        placed = place(stack.frames, f"series {stack.name}")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    headers: dict[Path, Dataset] = {}
    for frame in placed.frames:
        if frame.header.path not in headers:
            headers[frame.header.path] = _header(path, frame)
    uids = {str(header.SOPInstanceUID) for header in headers.values()}
    if len(uids) < len(headers):
        raise DataError(
            f"{path}: a result in DICOM refers to each image by its SOPInstanceUID; "
            f"{len(headers)} images have {len(uids)}. Write the result as NIfTI."
        )
    first, correction = placed.frames[0], placed.correction
    rows, columns, count = first.rows, first.columns, len(placed.frames)
    spacing = first.spacing or (1.0, 1.0)
    even = correction is None or correction.levels is None
    if correction is not None:
        rows, columns = correction.rows, correction.columns
        count = count if correction.levels is None else len(correction.levels)
    slices = tuple(
        Slice(
            header=headers[frame.header.path],
            frame_number=frame.index + 1 if frame.header.frames > 1 else None,
            affine=_slice_affine(frame, placed.affine),
            is_tile=frame.box is not None,
        )
        for frame in placed.frames
    )
    return Source(
        path=path,
        slices=slices,
        rows=first.rows,
        columns=first.columns,
        placed=first.is_placed,
        orientation=first.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        spacing_mm=(spacing[0], spacing[1]),
        grid_affine=placed.affine,
        grid_shape=(count, rows, columns),
        corrected=() if correction is None else placed.decisions,
        even=even,
    )


def _slice_affine(frame: Frame, grid: Affine) -> Affine:
    """Return the affine of one slice: the grid's axes at the slice's own position."""
    affine = grid.copy()
    if frame.is_placed:
        affine[:3, 3] = frame.position
    return affine


def _header(path: Path, frame: Frame) -> Dataset:

    name = frame.header.name
    try:
        with lenient():
            dataset = read_dataset(frame.header.path)
            missing = [word for word in _IDENTIFIERS if not _is_uid(dataset.get(word))]
    except damage() as error:
        raise DataError(f"{path}: the header of {name} is damaged ({reason(error)}).") from error
    if missing:
        raise DataError(
            f"{path}: a result in DICOM refers to its source by {', '.join(_IDENTIFIERS)}; {name} "
            f"has no {missing[0]} of digits and dots. Write the result as NIfTI."
        )
    return dataset


def _is_uid(value: object) -> bool:
    return re.fullmatch(r"[0-9.]{1,64}", str(value or "")) is not None
