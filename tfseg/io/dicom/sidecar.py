"""How a volume was acquired, as JSON beside its NIfTI file, under the names that BIDS uses.

The keys and units are those of dcm2niix: milliseconds of DICOM become seconds, several values of
one code are joined by ``_``. Values are those of the first slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfseg import __version__
from tfseg.errors import DataError
from tfseg.io.dicom.damage import damage, lenient
from tfseg.io.dicom.dataset import read_dataset
from tfseg.io.dicom.privacy import TYPED, private_words_of

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST_CHARACTERS = 256

# BIDS' name -> DICOM's keywords, the first that is there. Enhanced files have other ones.
_TEXTS = {
    "Modality": ("Modality",),
    "Manufacturer": ("Manufacturer",),
    "ManufacturersModelName": ("ManufacturerModelName",),
    "SoftwareVersions": ("SoftwareVersions",),
    "BodyPartExamined": ("BodyPartExamined",),
    "PatientPosition": ("PatientPosition",),
    "SeriesDescription": ("SeriesDescription",),
    "ProtocolName": ("ProtocolName",),
    "MRAcquisitionType": ("MRAcquisitionType",),
    "ScanningSequence": ("ScanningSequence",),
    "SequenceVariant": ("SequenceVariant",),
    "ScanOptions": ("ScanOptions",),
    "SequenceName": ("SequenceName", "PulseSequenceName"),
    "ConvolutionKernel": ("ConvolutionKernel",),
    "ContrastBolusAgent": ("ContrastBolusAgent",),
    "Radiopharmaceutical": ("Radiopharmaceutical",),
}
_NUMBERS = {
    "SeriesNumber": ("SeriesNumber",),
    "AcquisitionNumber": ("AcquisitionNumber",),
    "MagneticFieldStrength": ("MagneticFieldStrength",),
    "SliceThickness": ("SliceThickness",),
    "SpacingBetweenSlices": ("SpacingBetweenSlices",),
    "SAR": ("SAR",),
    "FlipAngle": ("FlipAngle",),
    "EchoTrainLength": ("EchoTrainLength",),
    "PixelBandwidth": ("PixelBandwidth",),
    "KVP": ("KVP",),
    "XRayTubeCurrent": ("XRayTubeCurrent", "XRayTubeCurrentInmA"),
    "GantryDetectorTilt": ("GantryDetectorTilt",),
}
_COUNTED = ("SeriesNumber", "AcquisitionNumber")  # may be a patient's number
_MILLISECONDS = {
    "EchoTime": ("EchoTime", "EffectiveEchoTime"),
    "RepetitionTime": ("RepetitionTime",),
    "InversionTime": ("InversionTime", "InversionTimes"),
    "ExposureTime": ("ExposureTime", "ExposureTimeInms"),
}
_PERSON = {"PatientSex": ("PatientSex",), "PatientAge": ("PatientAge",)}
_PERSON_NUMBERS = {"PatientWeight": ("PatientWeight",), "PatientSize": ("PatientSize",)}


def sidecar(path: Path, frame: int = 0, *, identify: bool = False) -> dict[str, Any]:
    """Return what a DICOM file says of its acquisition.

    Args:
        path: the file of the first slice.
        frame: which of the file's frames that is, from 0.
        identify: also what people typed, which may name the patient, and the patient's sex, age
            (as DICOM writes it, ``063Y``), weight in kg and size in m.

    Returns:
        What is there, and nothing about the patient, the place or the time unless asked for.
        ``EchoTime``, ``RepetitionTime``, ``InversionTime`` and ``ExposureTime`` in seconds,
        lengths in mm, angles in degrees, ``MagneticFieldStrength`` in tesla.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with lenient():
            return dict(_told(read_dataset(path), frame, identify=identify))
    except damage() as error:
        raise DataError("the header of its first file is damaged. Copy the files again.") from error


def _told(header: Dataset, frame: int, *, identify: bool) -> Iterator[tuple[str, Any]]:
    places = list(_places(header, frame))
    private = private_words_of(header)

    def may_be_told(name: str, text: str) -> bool:
        if identify or name == "Modality":  # a code, whatever a phantom's "patient" is called
            return True
        return name not in TYPED and not private.names_someone(text)

    for name, keywords in (_TEXTS | (_PERSON if identify else {})).items():
        text = "_".join(str(value) for value in _values(places, keywords))[:_MOST_CHARACTERS]
        if text and may_be_told(name, text):
            yield name, text
    kinds = _values(places, ("ImageType",))
    if kinds and may_be_told("ImageType", " ".join(map(str, kinds))):
        yield "ImageType", [str(kind) for kind in kinds]
    numbers = _NUMBERS | (_PERSON_NUMBERS if identify else {})
    for name, keywords in numbers.items():
        value = _number(places, keywords)
        if value is not None and not (
            name in _COUNTED and not identify and private.names_someone(f"{value:.0f}")
        ):
            yield name, int(value) if value.is_integer() else value
    for name, keywords in _MILLISECONDS.items():
        value = _number(places, keywords)
        if value is not None:
            yield name, round(value / 1000, 9)
    yield "ConversionSoftware", "tfseg"
    yield "ConversionSoftwareVersion", __version__


def _places(header: Dataset, frame: int) -> Iterator[Dataset]:
    """Yield where a value may stand: the file itself, then its functional groups."""
    yield header
    shared = header.get("SharedFunctionalGroupsSequence") or []
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    for groups in (shared[:1], own[frame : frame + 1]):
        for group in groups:
            for element in group:
                if element.VR == "SQ" and element.value:
                    yield element.value[0]


def _values(places: list[Dataset], keywords: tuple[str, ...]) -> list[Any]:
    from pydicom.multival import MultiValue

    for keyword in keywords:
        for place in places:
            value = place.get(keyword)
            if value is not None and value != "":
                return list(value) if isinstance(value, MultiValue) else [value]
    return []


def _number(places: list[Dataset], keywords: tuple[str, ...]) -> float | None:
    """Return the first value as a finite number, if it is one."""
    values = _values(places, keywords)
    try:
        number = float(values[0]) if values else float("nan")
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None
