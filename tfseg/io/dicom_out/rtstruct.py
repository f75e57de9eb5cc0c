"""RT Structure Set: a label map as contours on the slices of its source (PS3.3 A.19.3).

One ROI a label, its number the label's value; a label without a voxel is an ROI without
contours. Contours lie in the planes of the source's slices, whatever way these are turned, and
each refers to its slice. How holes are kept, and how exact contours are, :mod:`.contours` says.

The file is written in Implicit VR Little Endian: a contour of some thousand points is longer
than the 65534 bytes that a decimal string may have in explicit syntaxes (note to C.8.8.6).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tfseg import __version__
from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.geometry import Affine, direction_of, spacing_of
from tfseg.io.dicom.damage import lenient
from tfseg.io.dicom_out.about import About
from tfseg.io.dicom_out.codes import Code
from tfseg.io.dicom_out.contours import trace
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

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set Storage
# The class of a study's reference, which C.8.8.5 still asks for though nothing is stored by it.
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
_DECIMALS = 6  # of coordinates: a nanometre
_SHORT = 16  # characters of SH (PS3.5 6.2)
_NETWORK = Code("123110", "DCM", "Artificial Intelligence")
_ORGAN_CATEGORY = "91723000"  # Anatomical Structure


def write_rtstruct(
    labels: Volume, source: Source, target: str | os.PathLike[str], about: About, stamp: Stamp
) -> None:
    """Write a label map as an RT Structure Set.

    Patient and study are those of the source. Where the reader corrected the source's geometry,
    contours lie on the slices as they are, each pixel taking the nearest voxel.

    Args:
        labels: values index ``about.names``, on the grid that the source was read to.
        source: from :func:`tfseg.io.dicom_out.sources.read_source`.
        target: the file to write, atomically.
        about: names, colours and meaning of the labels, and what drew them.
        stamp: when the result was made; gives its identifiers.

    Raises:
        DataError: a source without a place in space, labels on another grid, or values without
            a name.
    """
    if not source.placed:
        raise DataError(
            f"{source.path}: contours need a place in space, and the header has no "
            "ImagePositionPatient and ImageOrientationPatient. Write the result as NIfTI."
        )
    highest = int(labels.array.max())
    if highest >= len(about.names):
        raise DataError(
            f"label values must be below {len(about.names)}, the number of names; got {highest}."
        )
    dataset = _structure_set(labels, source, about, stamp)
    with atomic_path(target) as temporary, lenient():
        dataset.save_as(temporary, enforce_file_format=True)


def _structure_set(labels: Volume, source: Source, about: About, stamp: Stamp) -> Dataset:
    from pydicom import FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian

    dataset = identity(source.headers[0])
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SpecificCharacterSet = CHARACTER_SET
    dataset.SOPClassUID = STORAGE
    dataset.SOPInstanceUID = stamp.uid("instance", "RTSTRUCT")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = stamp.date, stamp.time
    # RT Series and General Equipment (C.8.8.1, C.7.5.1)
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = stamp.uid("series", "RTSTRUCT")
    dataset.SeriesNumber = series_number(source.headers[0])
    dataset.SeriesDate, dataset.SeriesTime = stamp.date, stamp.time
    dataset.SeriesDescription = text(f"Contours by {about.algorithm}")
    dataset.OperatorsName = ""
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = text(about.algorithm)
    dataset.SoftwareVersions = f"tfseg {__version__}"
    # Structure Set, ROI Contour, RT ROI Observations, Approval (C.8.8.5, .6, .8, .16)
    dataset.InstanceNumber = 1
    dataset.StructureSetLabel = text(about.algorithm, _SHORT) or MANUFACTURER
    described = [about.remark, f"drawn by {about.algorithm}, {about.version}"]
    dataset.StructureSetDescription = text("; ".join(filter(None, described)), LONGEST_TEXT)
    dataset.StructureSetDate, dataset.StructureSetTime = stamp.date, stamp.time
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source, dataset)]
    contours = _contours(labels, source)
    millilitres = _volumes_ml(labels)
    planes = _pixel_planes(source)
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    for value in range(1, len(about.names)):
        dataset.StructureSetROISequence.append(
            _roi(value, about, dataset.FrameOfReferenceUID, millilitres)
        )
        dataset.ROIContourSequence.append(
            _roi_contours(value, about, contours.get(value, []), planes, source)
        )
        dataset.RTROIObservationsSequence.append(_observation(value, about))
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _frame_of_reference(source: Source, dataset: Dataset) -> Dataset:
    from pydicom import Dataset

    series = Dataset()
    series.SeriesInstanceUID = str(source.headers[0].SeriesInstanceUID)
    series.ContourImageSequence = [_reference(header) for header in source.headers]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = str(dataset.StudyInstanceUID)
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = dataset.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _reference(header: Dataset, frame_number: int | None = None) -> Dataset:
    from pydicom import Dataset

    reference = Dataset()
    reference.ReferencedSOPClassUID = str(header.SOPClassUID)
    reference.ReferencedSOPInstanceUID = str(header.SOPInstanceUID)
    if frame_number is not None:
        reference.ReferencedFrameNumber = frame_number
    return reference


def _contours(labels: Volume, source: Source) -> dict[int, list[bytes]]:
    """Return the items of the Contour Sequence of each label value, as they are in the file."""
    found: dict[int, list[bytes]] = {}
    for place, plane in zip(source.slices, source.on_slices(labels), strict=True):
        for value, points in _outlines(plane):
            items = found.setdefault(value, [])
            items.append(_contour(points, place, len(items) + 1))
    return found


def _outlines(plane: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (value, polygon in pixels (y, x)) for every region of a slice."""
    for value, box in enumerate(ndimage.find_objects(plane), start=1):
        if box is not None:
            corner = np.array([side.start for side in box], np.float64)
            for polygon in trace(plane[box] == value):
                yield value, polygon + corner


def _contour(points: NDArray[np.float64], place: Slice, number: int) -> bytes:
    """Return an item of the Contour Sequence in Implicit VR Little Endian (PS3.5 7.5).

    A structure may have ten thousand contours; as objects of pydicom they would take minutes
    and gigabytes.
    """
    elements = []
    if not place.is_tile:  # a tile of a mosaic is no image that can be referred to
        reference = [
            _element("ReferencedSOPClassUID", str(place.header.SOPClassUID), b"\0"),
            _element("ReferencedSOPInstanceUID", str(place.header.SOPInstanceUID), b"\0"),
        ]
        if place.frame_number is not None:
            reference.append(_element("ReferencedFrameNumber", str(place.frame_number)))
        elements.append(_element("ContourImageSequence", _item(reference)))
    elements += [
        _element("ContourGeometricType", "CLOSED_PLANAR"),
        _element("NumberOfContourPoints", str(len(points))),
        _element("ContourNumber", str(number)),
        _element("ContourData", _decimal_strings(to_mm(points, place.affine))),
    ]
    return _item(elements)


def _item(elements: list[bytes]) -> bytes:
    value = b"".join(elements)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def _element(keyword: str, value: str | bytes, padding: bytes = b" ") -> bytes:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    content = value.encode() if isinstance(value, str) else value
    content += padding * (len(content) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(content)) + content


def to_mm(points: NDArray[np.float64], affine: Affine) -> NDArray[np.float64]:
    """Return points (n, 2), (row, column) in pixels of a slice, as (n, 3) LPS mm."""
    return np.asarray(points @ affine[:3, 1:3].T + affine[:3, 3])


def _decimal_strings(points: NDArray[np.float64]) -> str:
    """Return coordinates as the value of a DS element (PS3.5 6.2)."""
    rounded = np.round(points, _DECIMALS) + 0.0  # no minus zero
    return "\\".join([f"{number:.12g}" for number in rounded.ravel().tolist()])


def _pixel_planes(source: Source) -> Dataset | None:
    """Return the planes that contours are drawn on (C.8.8.6.4).

    With them it is known that a plane without a contour is a gap. Planes that are not evenly
    spaced, or tilted against each other's line, cannot be told.
    """
    from pydicom import Dataset

    if source.corrected or len(source.slices) < 2:
        return None
    affine = source.grid_affine
    spacing, direction = spacing_of(affine), direction_of(affine)
    planes = Dataset()
    planes.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[2])]
    planes.SpacingBetweenSlices = _decimal(spacing[0])
    planes.NumberOfFrames = len(source.slices)
    planes.ImagePositionPatient = [_decimal(number) for number in affine[:3, 3]]
    planes.ImageOrientationPatient = [
        _decimal(number) for number in (*direction[:, 2], *direction[:, 1])
    ]
    planes.Rows, planes.Columns = source.rows, source.columns
    return planes


def _decimal(number: float) -> str:
    """Return a number as a decimal string of at most 16 characters."""
    return f"{number + 0.0:.9g}"


def _volumes_ml(labels: Volume) -> NDArray[np.float64]:
    """Return the volume of each label value: its voxels times the size of one."""
    counts = np.zeros(int(labels.array.max()) + 1, np.int64)
    for plane in labels.array:  # plane by plane, since bincount makes long integers
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    return np.asarray(counts * abs(np.linalg.det(labels.affine[:3, :3])) / 1000)


def _roi(
    value: int, about: About, frame_of_reference: str, millilitres: NDArray[np.float64]
) -> Dataset:
    from pydicom import Dataset

    roi = Dataset()
    roi.ROINumber = value
    roi.ReferencedFrameOfReferenceUID = frame_of_reference
    roi.ROIName = text(about.names[value]) or f"label {value}"
    roi.ROIVolume = _decimal(float(millilitres[value]) if value < len(millilitres) else 0.0)
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    roi.ROIGenerationDescription = text(f"{about.algorithm}, {about.version}")
    roi.ROIDerivationAlgorithmIdentificationSequence = [_algorithm(about)]
    return roi


def _algorithm(about: About) -> Dataset:
    """Return what drew the contours (PS3.3 10.16)."""
    from pydicom import Dataset

    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [_coded(_NETWORK)]
    algorithm.AlgorithmName = text(about.algorithm) or MANUFACTURER
    algorithm.AlgorithmVersion = text(about.version) or __version__
    if about.digest:
        algorithm.AlgorithmParameters = f"manifest SHA-256 {about.digest}"
    algorithm.AlgorithmSource = MANUFACTURER
    return algorithm


def _roi_contours(
    value: int, about: About, contours: list[bytes], planes: Dataset | None, source: Source
) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    series = Dataset()
    series.SeriesInstanceUID = str(source.headers[0].SeriesInstanceUID)
    roi = Dataset()
    roi.ReferencedROINumber = value
    roi.ROIDisplayColor = list(about.colours[value])
    if planes is not None:
        roi.SourcePixelPlanesCharacteristicsSequence = [planes]
    roi.SourceSeriesSequence = [series]
    if contours:
        tag, items = Tag("ContourSequence"), b"".join(contours)
        roi[tag] = RawDataElement(tag, "SQ", len(items), items, 0, True, True)
    return roi


def _observation(value: int, about: About) -> Dataset:
    from pydicom import Dataset

    concept = about.concept(value)
    kind = _coded(concept.type)
    if concept.modifier is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(concept.modifier)]
    observation = Dataset()
    observation.ObservationNumber = value
    observation.ReferencedROINumber = value
    observation.SegmentedPropertyCategoryCodeSequence = [_coded(concept.category)]
    observation.RTROIIdentificationCodeSequence = [kind]
    # A lesion that a network drew is no planner's gross tumour volume: no term is claimed.
    is_organ = concept.category.value == _ORGAN_CATEGORY
    observation.RTROIInterpretedType = "ORGAN" if is_organ else ""
    observation.ROIInterpreter = ""
    return observation


def _coded(code: Code) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
