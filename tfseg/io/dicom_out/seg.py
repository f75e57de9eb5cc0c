"""Write a label map, or probabilities, as a DICOM Segmentation (PS3.3 A.51, C.8.20).

Frames lie where the slices of the source lie and refer to them. highdicom composes the object
from one header a slice. It gets stand-ins: what a file says in its own way (functional groups,
a mosaic, no type 2 elements) is said in one way there, and the references are put right in the
end.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfseg import __version__
from tfseg.errors import ConfigError, DataError
from tfseg.files import atomic_path
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom_out import SEG_TYPES
from tfseg.io.dicom_out.about import About
from tfseg.io.dicom_out.codes import Code
from tfseg.io.dicom_out.sources import Slice, Source
from tfseg.io.dicom_out.stamp import (
    CHARACTER_SET,
    LONGEST_TEXT,
    MANUFACTURER,
    Stamp,
    identity,
    series_number,
    text,
)
from tfseg.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_LEVELS = 255  # MaximumFractionalValue: what a probability of 1 is stored as
_CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"  # single frames, in space or not
_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def write_seg(
    labels: Volume,
    source: Source,
    target: Path,
    about: About,
    stamp: Stamp,
    *,
    kind: str = "binary",
    probabilities: NDArray[np.float32] | None = None,
) -> Dataset:
    """Write one Segmentation of all labels; return it without its pixels, to refer to.

    Every label but the background is a segment, found in the scan or not. Frames without a
    label are left out, unless slices are unevenly spaced: then what is left out could not be
    told from a gap. Where the reader corrected the source's geometry, the labels go back to the
    source's slices by nearest neighbour.

    Args:
        labels: (z, y, x) unsigned integers on the grid of the scan.
        source: of the scan.
        target: file to write.
        about: names, colours, codes and the model.
        stamp: date and identifiers; the same stamp and labels give the same bytes.
        kind: ``binary``, ``fractional`` (probabilities in steps of 1/255) or ``labelmap``.
        probabilities: (z, y, x, classes) on the same grid, for ``fractional``.

    Raises:
        ConfigError: an unknown kind, or ``fractional`` without probabilities.
        DataError: another grid, a label without a name, or a source that cannot be referred to.
    """
    if kind not in SEG_TYPES:
        raise ConfigError(f"a DICOM SEG is one of {', '.join(SEG_TYPES)}; got {kind!r}.")
    if (kind == "fractional") != (probabilities is not None):
        raise ConfigError(f"probabilities belong to a fractional SEG, and only there; got {kind}.")
    highest = int(labels.array.max())
    if highest >= len(about.names):
        raise DataError(
            f"{source.path}: every label needs a name; {len(about.names)} are named, "
            f"the background among them, and the label map holds {highest}."
        )
    if len(about.names) < 2:
        raise DataError(f"{source.path}: a SEG needs a label beside the background; got none.")
    try:
        with lenient(), warnings.catch_warnings():
            # highdicom remarks on patients' names in unusual forms: they are the source's.
            warnings.simplefilter("ignore")
            dataset = _compose(labels, source, about, stamp, kind, probabilities)
            with atomic_path(target) as temporary:
                dataset.save_as(temporary, enforce_file_format=True)
    except (DataError, OSError, MemoryError):  # not the source's fault
        raise
    except damage() as error:
        raise DataError(
            f"{source.path}: no DICOM SEG can refer to this series ({reason(error)}). Write the "
            "result as NIfTI."
        ) from error
    del dataset.PixelData
    return dataset


def _compose(
    labels: Volume,
    source: Source,
    about: About,
    stamp: Stamp,
    kind: str,
    probabilities: NDArray[np.float32] | None,
) -> Dataset:
    from highdicom.seg import Segmentation

    stand_ins = [_stand_in(source, index) for index in range(len(source.slices))]
    described = [about.remark, ", ".join(about.names[1:])]
    dataset: Dataset = Segmentation(
        source_images=stand_ins,
        pixel_array=_pixels(labels, source, probabilities),
        segmentation_type=kind.upper(),
        segment_descriptions=[
            _segment(about, stamp, value) for value in range(1, len(about.names))
        ],
        series_instance_uid=stamp.uid("series", "SEG"),
        series_number=series_number(source.slices[0].header),
        sop_instance_uid=stamp.uid("instance", "SEG"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=text(about.algorithm),
        software_versions=f"tfseg {__version__}",
        device_serial_number=about.digest[:64] or __version__,
        max_fractional_value=_LEVELS,
        content_label="SEGMENTATION",
        content_description=text("; ".join(filter(None, described))),
        series_description=text(f"Segmentation by {about.algorithm}"),
        content_date=stamp.date,
        content_time=stamp.time,
        series_date=stamp.date,
        series_time=stamp.time,
        specific_character_set=CHARACTER_SET,
        omit_empty_frames=source.even,
    )
    if about.remark:  # whole: the description above is cut to 64 characters
        dataset.ImageComments = text(about.remark, LONGEST_TEXT)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = stamp.date, stamp.time
    for item in dataset.ContributingEquipmentSequence:
        item.ContributionDateTime = stamp.date + stamp.time
    organisation = stamp.uid("dimensions", "SEG")
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    if not source.placed:  # what a picture shows is then said in words (PS3.3 C.7.6.1.1.1)
        dataset.PatientOrientation = source.slices[0].header.get("PatientOrientation") or ""
    _refer(dataset, source, stand_ins)
    return dataset


def _pixels(
    labels: Volume, source: Source, probabilities: NDArray[np.float32] | None
) -> NDArray[Any]:
    """Return the frames (slices, rows, columns[, segments])."""
    if probabilities is None:
        smallest = np.uint8 if labels.array.max() < 256 else np.uint16
        return np.stack(list(source.on_slices(labels.with_array(labels.array.astype(smallest)))))
    share = np.stack(list(source.on_slices(labels.with_array(probabilities[..., 1:]))))
    np.clip(share, 0, 1, out=share)
    share[share < 0.5 / _LEVELS] = 0  # stored as 0: so frames without anything are left out
    return share


def _segment(about: About, stamp: Stamp, value: int) -> Any:
    """Return the description of one segment (PS3.3 C.8.20.4)."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    def coded(code: Code) -> Any:
        return CodedConcept(code.value, code.scheme, code.meaning)

    concept = about.concept(value)
    name = text(about.names[value]) or f"label {value}"
    segment = SegmentDescription(
        segment_number=value,
        segment_label=name,
        segmented_property_category=coded(concept.category),
        segmented_property_type=coded(concept.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=text(about.algorithm),
            family=CodedConcept("123110", "DCM", "Artificial Intelligence"),
            version=text(about.version),
            source=MANUFACTURER,
            parameters={"manifest SHA-256": about.digest} if about.digest else None,
        ),
        tracking_id=name,
        tracking_uid=stamp.uid("segment", str(value)),
        display_color=CIELabColor.from_rgb(*about.colours[value]),
    )
    if concept.modifier is not None:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [coded(concept.modifier)]
    return segment


def _thickness(header: Dataset) -> str:
    """Return SliceThickness, or nothing where it is no positive number."""
    from tfseg.io.dicom.damage import damage, lenient

    try:
        with lenient():
            given = str(header.get("SliceThickness") or "")
            return given if 0 < float(given) < float("inf") else ""
    except damage():
        return ""


def _stand_in(source: Source, index: int) -> Dataset:
    """Return a slice as the single-frame header that highdicom reads best."""
    from pydicom.valuerep import format_number_as_ds

    slice_ = source.slices[index]
    header = slice_.header
    dataset = identity(header)
    dataset.SeriesInstanceUID = header.SeriesInstanceUID
    dataset.Modality = header.get("Modality") or "OT"
    dataset.SOPClassUID = _MR_IMAGE if source.placed else _CR_IMAGE
    dataset.SOPInstanceUID = f"1.2.{index}"  # put right by _refer
    dataset.Rows, dataset.Columns = source.rows, source.columns
    dataset.PixelSpacing = [format_number_as_ds(value) for value in source.spacing_mm]
    step = float(np.linalg.norm(source.grid_affine[:3, 0]))
    dataset.SliceThickness = _thickness(header) or format_number_as_ds(step)
    if len(source.slices) > 1 and source.even:
        dataset.SpacingBetweenSlices = format_number_as_ds(step)
    if source.placed:
        place = slice_.affine[:3, 3]
        dataset.ImagePositionPatient = [format_number_as_ds(float(value)) for value in place]
        dataset.ImageOrientationPatient = [format_number_as_ds(v) for v in source.orientation]
    else:
        del dataset.FrameOfReferenceUID  # a projection lies in no frame
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if header.get("LossyImageCompression") == "01" and keyword in header:
            dataset.LossyImageCompression = "01"
            setattr(dataset, keyword, header.get(keyword))
    return dataset


def _refer(dataset: Dataset, source: Source, stand_ins: Sequence[Dataset]) -> None:
    """Put the references to stand-ins right (PS3.3 C.12.4, C.7.6.16.2.6)."""
    real = {
        str(one.SOPInstanceUID): slice_
        for one, slice_ in zip(stand_ins, source.slices, strict=True)
    }
    # Frames of several segments share the items of their slice.
    for item in {id(item): item for item in _derivations(dataset)}.values():
        slice_ = real[str(item.ReferencedSOPInstanceUID)]
        _name(item, slice_)
        if slice_.frame_number is not None:
            item.ReferencedFrameNumber = slice_.frame_number
        if slice_.is_tile:
            item.SpatialLocationsPreserved = "NO"
    kept: list[Dataset] = []
    seen: set[str] = set()
    for item in dataset.SourceImageSequence:
        _name(item, real[str(item.ReferencedSOPInstanceUID)])
        if item.ReferencedSOPInstanceUID not in seen:
            seen.add(item.ReferencedSOPInstanceUID)
            kept.append(item)
    dataset.SourceImageSequence = kept
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = kept


def _derivations(dataset: Dataset) -> Iterator[Dataset]:
    for group in (
        *dataset.SharedFunctionalGroupsSequence,
        *dataset.get("PerFrameFunctionalGroupsSequence", ()),
    ):
        for derivation in group.get("DerivationImageSequence", ()):
            yield from derivation.SourceImageSequence


def _name(item: Dataset, slice_: Slice) -> None:
    item.ReferencedSOPClassUID = slice_.header.SOPClassUID
    item.ReferencedSOPInstanceUID = slice_.header.SOPInstanceUID
