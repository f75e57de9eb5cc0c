"""Structured report on a Segmentation: the volume of each label (PS3.16 TID 1500).

One group of measurements a segment (TID 1411), in a Comprehensive SR (PS3.3 A.35.3): what was
found, the segment that shows it, its volume, and the mean of the scan's values in it where these
have a unit that a report may name.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfseg import __version__
from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom_out.about import About
from tfseg.io.dicom_out.codes import Code
from tfseg.io.dicom_out.sources import Source
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

_DECIMALS = 6  # significant digits of a measurement
_ANATOMY = "Anatomical Structure"
# Modality -> what was done (PS3.16 CID 100 and 29).
_PROCEDURES = {
    "CT": Code("77477000", "SCT", "Computed tomography"),
    "MR": Code("113091000", "SCT", "Magnetic resonance imaging"),
    "PT": Code("82918005", "SCT", "Positron emission tomography"),
}
_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
_VOLUME = Code("118565006", "SCT", "Volume"), Code("mL", "UCUM", "milliliter")
# Modality -> what its values are, and their unit.
_VALUES = {
    "CT": (
        Code("112031", "DCM", "Attenuation Coefficient"),
        Code("[hnsf'U]", "UCUM", "Hounsfield unit"),
    ),
    "MR": (Code("110852", "DCM", "MR signal intensity"), Code("1", "UCUM", "no units")),
}
_MEAN = Code("373098007", "SCT", "Mean")
_COMMENT = Code("121106", "DCM", "Comment")


def write_report(
    labels: Volume,
    source: Source,
    segmentation: Dataset,
    target: str | os.PathLike[str],
    about: About,
    stamp: Stamp,
    scan: Volume | None = None,
) -> None:
    """Write a measurement report beside a Segmentation.

    A label without a voxel is reported with a volume of 0. The report is marked as unverified
    and preliminary: no person has seen it.

    Args:
        labels: (z, y, x), the values index ``about.names``; volumes are counted here.
        source: of the scan.
        segmentation: as :func:`.seg.write_seg` returns it: what segments are referred to in.
        target: the file to write, atomically.
        about: names and meaning of the labels, and what drew them.
        stamp: that of the Segmentation; gives identifiers.
        scan: the scan on the grid of the labels, for mean values: of CT in HU, of MR without a
            unit; of others none are told. ``None`` leaves them out.

    Raises:
        DataError: a label without a name, a scan on another grid, or a source that no report
            can refer to.
    """
    highest = int(labels.array.max())
    if highest >= len(about.names):
        raise DataError(
            f"{source.path}: every label needs a name; {len(about.names)} are named, "
            f"the background among them, and the label map holds {highest}."
        )
    if scan is not None and not scan.same_grid(labels):
        raise DataError(
            f"{source.path}: the scan must be on the grid of the labels, {labels.shape}; it is "
            f"{scan.shape} or elsewhere. Resample it."
        )
    millilitres, means = measured(labels, len(about.names), _told(scan, source))
    try:
        with lenient(), warnings.catch_warnings():
            # highdicom remarks on patients' names in unusual forms: they are the source's.
            warnings.simplefilter("ignore")
            report = _compose(millilitres, means, source, segmentation, about, stamp)
            with atomic_path(target) as temporary:
                report.save_as(temporary, enforce_file_format=True)
    except DataError:
        raise
    except damage() as error:
        raise DataError(
            f"{source.path}: no report can refer to this series ({reason(error)}). Leave out the "
            "report."
        ) from error


def measured(
    labels: Volume, count: int, scan: Volume | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the volume in ml and the mean value of each label.

    Args:
        labels: (z, y, x).
        count: number of labels, the background among them.
        scan: on the same grid, one channel; ``None`` gives means of NaN, as do labels without
            a voxel.
    """
    voxels = np.zeros(count)
    sums = np.zeros(count)
    for index, plane in enumerate(labels.array):  # plane by plane bounds the memory
        values = plane.ravel()
        voxels += np.bincount(values, minlength=count)
        if scan is not None:
            sums += np.bincount(values, weights=scan.array[index].ravel(), minlength=count)
    means = np.full(count, np.nan)
    if scan is not None:
        np.divide(sums, voxels, out=means, where=voxels > 0)
    return voxels * abs(np.linalg.det(labels.affine[:3, :3])) / 1000, means


def _told(scan: Volume | None, source: Source) -> Volume | None:
    """Return the scan if a report can name the unit of its values."""
    if scan is None or scan.channels != 1 or scan.modality not in _VALUES:
        return None
    # PS3.3 C.8.2.1.1.2: CT is in Hounsfield units unless RescaleType says otherwise.
    unit = str(source.headers[0].get("RescaleType") or "HU")
    if scan.modality == "CT" and unit not in {"HU", "US"}:
        return None
    return scan.with_array(scan.channel_last()[..., 0])


def _compose(
    millilitres: NDArray[np.float64],
    means: NDArray[np.float64],
    source: Source,
    segmentation: Dataset,
    about: About,
    stamp: Stamp,
) -> Dataset:
    from highdicom.sr import (
        ComprehensiveSR,
        MeasurementReport,
        RelationshipTypeValues,
        TextContentItem,
    )

    modality = str(source.headers[0].get("Modality") or "")
    content = MeasurementReport(
        observation_context=_observer(about),
        procedure_reported=_coded(_PROCEDURES.get(modality, _PROCEDURE)),
        imaging_measurements=[
            _group(value, millilitres, means, modality, source, segmentation, about, stamp)
            for value in range(1, len(about.names))
        ],
    )
    if about.remark:  # TID 1500 is extensible
        comment = TextContentItem(
            _coded(_COMMENT), text(about.remark, LONGEST_TEXT), RelationshipTypeValues.CONTAINS
        )
        content[0].ContentSequence.append(comment)
    report: Dataset = ComprehensiveSR(
        evidence=[*(_evidence(header) for header in source.headers), segmentation],
        content=content,
        series_instance_uid=stamp.uid("series", "SR"),
        series_number=series_number(source.headers[0]) + 1,
        sop_instance_uid=stamp.uid("instance", "SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=text(about.algorithm),
        software_versions=f"tfseg {__version__}",
        device_serial_number=about.digest[:64] or __version__,
        series_description=text(f"Measurements by {about.algorithm}"),
        specific_character_set=CHARACTER_SET,
        is_complete=True,
    )
    for word in ("Content", "Series", "InstanceCreation"):
        setattr(report, f"{word}Date", stamp.date)
        setattr(report, f"{word}Time", stamp.time)
    for item in report.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = stamp.date + stamp.time
    return report


def _evidence(header: Dataset) -> Dataset:
    """Return the header of an instance with what a reference and the report's heading take."""
    evidence = identity(header)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"):
        setattr(evidence, keyword, header.get(keyword))
    return evidence


def _observer(about: About) -> Any:
    """Return who measured: a device (PS3.16 TID 1001, 1004)."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.uid import generate_uid

    device = DeviceObserverIdentifyingAttributes(
        # Of the model, not of this run of it.
        uid=generate_uid(entropy_srcs=["device", about.algorithm, about.version, about.digest]),
        name=text(about.algorithm) or MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=text(about.version) or __version__,
    )
    kind = _coded(Code("121007", "DCM", "Device"))
    return ObservationContext(observer_device_context=ObserverContext(kind, device))


def _group(
    value: int,
    millilitres: NDArray[np.float64],
    means: NDArray[np.float64],
    modality: str,
    source: Source,
    segmentation: Dataset,
    about: About,
    stamp: Stamp,
) -> Any:
    """Return the measurements of one segment (PS3.16 TID 1411)."""
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        Measurement,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    concept = about.concept(value)
    side = _coded(concept.modifier) if concept.modifier is not None else None
    segment = next(
        item for item in segmentation.SegmentSequence if int(item.SegmentNumber) == value
    )
    # Segments of a label map bear no identifier of their own.
    tracked = str(segment.get("TrackingUID") or stamp.uid("segment", str(value)))
    name, unit = (_coded(code) for code in _VOLUME)
    measurements = [Measurement(name, _rounded(millilitres[value]), unit)]
    if np.isfinite(means[value]):
        name, unit = (_coded(code) for code in _VALUES[modality])
        measurements.append(
            Measurement(name, _rounded(means[value]), unit, derivation=_coded(_MEAN))
        )
    sites = None
    if concept.category.meaning == _ANATOMY:
        sites = [FindingSite(_coded(concept.type), laterality=side)]
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=tracked, identifier=text(about.names[value]) or f"label {value}"
        ),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=value,
            source_series=SourceSeriesForSegmentation(str(source.headers[0].SeriesInstanceUID)),
        ),
        finding_category=_coded(concept.category),
        finding_type=_coded(concept.type),
        finding_sites=sites,
        algorithm_id=AlgorithmIdentification(
            name=text(about.algorithm) or MANUFACTURER,
            version=text(about.version) or __version__,
            parameters=[f"manifest SHA-256 {about.digest}"] if about.digest else None,
        ),
        measurements=measurements,
    )


def _rounded(number: float) -> float:
    """Return a measurement without the digits that nothing was measured to."""
    return float(f"{number:.{_DECIMALS}g}")


def _coded(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)
