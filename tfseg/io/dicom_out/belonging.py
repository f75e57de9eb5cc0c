"""Whether a Segmentation or structure set belongs to an image: what both headers say.

Coordinates mean the same place only in one frame of reference (PS3.3 C.7.4.1). What is drawn on
an image must therefore be in the image's frame of reference, or refer to the image itself. No
identifier is told in a message: patients are in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfseg.errors import DataError
from tfseg.io.dicom import Stack, the_volume
from tfseg.io.dicom.damage import damage, lenient
from tfseg.io.dicom.dataset import read_dataset
from tfseg.io.dicom_out.stamp import text

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = (
    "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "SliceThickness",
)  # fmt: skip
_MOST_REFERENCES = 1 << 16


@dataclass(frozen=True)
class Identity:
    """Which patient, space and images something is of; empty where it is not said.

    Attributes:
        patient: PatientID, without case.
        name: PatientName, without case.
        frames: of reference.
        series: SeriesInstanceUID, its own or those referred to.
        instances: SOPInstanceUID, its own or those referred to.
        thickness_mm: SliceThickness of an image.
    """

    patient: str = ""
    name: str = ""
    frames: frozenset[str] = frozenset()
    series: frozenset[str] = frozenset()
    instances: frozenset[str] = frozenset()
    thickness_mm: float | None = None


def image_header(image: str | os.PathLike[str] | None) -> Identity | None:
    """Return what a DICOM image says of itself; ``None`` where it is not one volume of DICOM."""
    if image is None or not _is_dicom(Path(image)):
        return None
    try:
        with the_volume(Path(image)) as (stack, _, _), lenient():
            return _identity(stack)
    except damage():  # DataError too: other files, or a folder that its data set reads its own way
        return None


def _identity(stack: Stack) -> Identity:

    frames = stack.frames
    dataset = read_dataset(frames[0].header.path, keywords=_TAGS)
    return Identity(
        patient=_word(dataset, "PatientID"),
        name=_word(dataset, "PatientName"),
        frames=_uids([dataset.get("FrameOfReferenceUID")]),
        series=_uids([frames[0].header.series_uid]),
        instances=_uids(frame.header.instance_uid for frame in frames),
        thickness_mm=frames[0].thickness_mm,
    )


def _is_dicom(path: Path) -> bool:
    from tfseg.io import looks_like_dicom, volume_suffix
    from tfseg.io.suffixes import DICOM

    if path.is_dir():
        return True
    return volume_suffix(path) in DICOM or (not volume_suffix(path) and looks_like_dicom(path))


def frame_of(dataset: Dataset) -> str:
    """Return the FrameOfReferenceUID of an object; of a structure set, the one it refers to."""
    listed = {
        str(item.get("FrameOfReferenceUID") or "").strip()
        for item in dataset.get("ReferencedFrameOfReferenceSequence") or ()
    } - {""}
    if len(listed) == 1:
        return listed.pop()
    return str(dataset.get("FrameOfReferenceUID") or "").strip()


def references_of(dataset: Dataset, frame: str) -> Identity:
    """Return what a Segmentation or structure set says it is of.

    Args:
        dataset: the object.
        frame: FrameOfReferenceUID of it, or of some of its structures: of a structure set in
            several, only what it refers to in that frame counts.
    """
    series, instances = [], []
    for item in _items(dataset, frame):
        series.append(item.get("SeriesInstanceUID"))
        instances.append(item.get("ReferencedSOPInstanceUID"))
    return Identity(
        patient=_word(dataset, "PatientID"),
        name=_word(dataset, "PatientName"),
        frames=_uids([frame]),
        series=_uids(series),
        instances=_uids(instances),
    )


def _items(dataset: Any, within: str) -> Iterator[Any]:
    """Yield the items that may refer to series and instances: of SEG, then of RTSTRUCT."""
    for one in dataset.get("ReferencedSeriesSequence") or ():
        yield one
        yield from one.get("ReferencedInstanceSequence") or ()
    yield from dataset.get("SourceImageSequence") or ()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        if str(frame.get("FrameOfReferenceUID") or within).strip() != within:
            continue
        for study in frame.get("RTReferencedStudySequence") or ():
            for one in study.get("RTReferencedSeriesSequence") or ():
                yield one
                yield from (one.get("ContourImageSequence") or ())[:_MOST_REFERENCES]


def belonging(path: Path, what: str, image: Identity | None, own: Identity) -> list[str]:
    """Compare what is drawn with the image that it is drawn on; return remarks.

    Args:
        path: of the Segmentation or structure set.
        what: ``Segmentation`` or ``structure set``.
        image: of the image, or ``None`` where its format says nothing.
        own: what the object refers to.

    Raises:
        DataError: it is in another frame of reference and refers to other images, or it is of
            another patient and nothing ties it to the image.
    """
    if image is None:
        return []
    refers = bool(own.series & image.series or own.instances & image.instances)
    names_others = not refers and bool(own.series and image.series)
    known = bool(own.frames and image.frames)
    same = bool(own.frames & image.frames)
    said = []
    stranger = _differ(own.patient, image.patient) or _differ(own.name, image.name)
    if known and not same:
        if not refers:
            raise DataError(
                f"{path}: a {what} must be in the frame of reference of its image, since places "
                "mean the same in one frame only (PS3.3 C.7.4.1); its FrameOfReferenceUID is "
                "another one, and it does not refer to this image. Name the image it was drawn "
                "on, or bring it onto this one by registration."
            )
        said.append(
            f"the {what} refers to this image but its FrameOfReferenceUID is another one: its "
            "places are taken for the image's"
        )
    elif not known and not refers:
        if stranger:
            raise DataError(
                f"{path}: a {what} must be of the image's patient; the patient is another one, "
                "and neither a FrameOfReferenceUID nor a reference ties it to this image. Name "
                "the image it was drawn on."
            )
        said.append(
            f"the {what} or the image has no FrameOfReferenceUID, and no reference ties them "
            "together: that it belongs to this image is taken from its place alone"
        )
    if names_others and same:
        said.append(
            f"the {what} was drawn on another series: this image is in the same frame of reference"
        )
    if stranger:
        said.append(f"the {what} bears another patient's name or number than the image")
    return said


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _word(dataset: Dataset, keyword: str) -> str:
    try:
        return text(str(dataset.get(keyword) or "")).casefold().strip("^ ")
    except damage():
        return ""


def _uids(values: Any) -> frozenset[str]:
    return frozenset(str(value).strip() for value in values if value and str(value).strip())
