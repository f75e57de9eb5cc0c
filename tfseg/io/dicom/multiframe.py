"""Frames of multi-frame files: functional groups of Enhanced CT, MR and PET, and NM.

Enhanced objects (PS3.3 C.7.6.16) say of each frame where it lies, in a group of its own or in
one that all share. Reconstructed nuclear medicine (PS3.3 C.8.4.14) has one position and steps
of SpacingBetweenSlices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfseg.errors import DataError
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.elements import printable, sequences
from tfseg.io.dicom.frames import Frame, Header

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_NUCLEAR = (
    "DetectorInformationSequence", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness",
    "RescaleSlope", "RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip


def frames_of(header: Header) -> tuple[Frame, ...]:
    """Return the frames of a multi-frame file, in the order in which they are stored.

    Raises:
        DataError: nothing says where the frames lie, or what says it is damaged.
    """
    dataset = sequences(header.path, header.name, _GROUPS if header.has_groups else _NUCLEAR)
    try:
        with lenient():
            if header.has_groups:
                return _grouped(header, dataset)
            return _nuclear(header, dataset)
    except DataError:
        raise
    except damage() as error:
        raise DataError(
            f"{header.name}: the description of the frames is damaged ({reason(error)})."
        ) from error


def _grouped(header: Header, dataset: Any) -> tuple[Frame, ...]:
    shared = dataset.get(_GROUPS[0]) or [{}]
    groups = dataset.get(_GROUPS[1])
    if groups is None or len(groups) != header.frames:
        raise DataError(
            f"{header.name}: each of the {header.frames} frames needs a functional group; there "
            f"are {0 if groups is None else len(groups)}. Copy the file again."
        )
    return tuple(_frame(header, index, group, shared[0]) for index, group in enumerate(groups))


def _frame(header: Header, index: int, own: Any, shared: Any) -> Frame:
    def find(sequence: str, keyword: str) -> Any:
        for group in (own, shared):
            items = group.get(sequence)
            value = items[0].get(keyword) if items else None
            if value is not None and value != "":
                return value
        return None

    def numbers(sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        value = find(sequence, keyword)
        if value is None or isinstance(value, str):
            return None
        if not hasattr(value, "__len__"):
            value = [value]
        return tuple(float(number) for number in value) if len(value) == count else None

    def number(sequence: str, keyword: str, default: float) -> float:
        found = numbers(sequence, keyword, 1)
        return default if found is None else found[0]

    measures = "PixelMeasuresSequence"
    thickness = number(measures, "SpacingBetweenSlices", 0) or number(measures, "SliceThickness", 0)
    values = "PixelValueTransformationSequence"
    traits: dict[str, object] = {
        "image type": _image_type(find),
        "echo": numbers("MREchoSequence", "EffectiveEchoTime", 1),
        "inversion": numbers("MRModifierSequence", "InversionTimes", 1),
        "b": numbers("MRDiffusionSequence", "DiffusionBValue", 1),
        "direction": _direction(find("MRDiffusionSequence", "DiffusionGradientDirectionSequence")),
        "time": numbers("FrameContentSequence", "TemporalPositionIndex", 1),
        "phase": (
            numbers("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", 1)
            or numbers("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", 1)
            or numbers("RespiratorySynchronizationSequence",
                       "NominalPercentageOfRespiratoryPhase", 1)
        ),
        "acquisition": numbers("FrameContentSequence", "FrameAcquisitionNumber", 1),
        "stack": printable(str(find("FrameContentSequence", "StackID") or "")) or None,
        "kernel": None,
    }  # fmt: skip
    return Frame(
        header=header,
        index=index,
        box=None,
        position=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing=numbers(measures, "PixelSpacing", 2),
        slope=number(values, "RescaleSlope", 1.0),
        intercept=number(values, "RescaleIntercept", 0.0),
        unit=printable(str(find(values, "RescaleType") or "")).removeprefix("US"),
        thickness_mm=abs(thickness) or None,
        traits={name: value for name, value in traits.items() if value is not None},
    )


def _image_type(find: Any) -> str | None:
    for kind in ("MR", "CT", "PET"):
        value = find(f"{kind}ImageFrameTypeSequence", "FrameType")
        if value is not None and not isinstance(value, str):
            return printable("/".join(str(part) for part in value[2:]))
    return None


def _direction(items: Any) -> tuple[float, ...] | None:
    value = items[0].get("DiffusionGradientOrientation") if items else None
    return None if value is None else tuple(float(number) for number in value)


def _nuclear(header: Header, dataset: Any) -> tuple[Frame, ...]:
    """Place the slices of a reconstruction at equal steps along the normal of the first."""
    detector = (dataset.get("DetectorInformationSequence") or [dataset])[0]
    position = detector.get("ImagePositionPatient") or dataset.get("ImagePositionPatient")
    orientation = detector.get("ImageOrientationPatient") or dataset.get("ImageOrientationPatient")
    spacing, step = dataset.get("PixelSpacing"), dataset.get("SpacingBetweenSlices")
    if not position or not orientation or not spacing or not step or header.modality != "NM":
        raise DataError(
            f"{header.name} holds {header.frames} frames and nothing says where they lie "
            f"(modality {header.modality}). Export single-frame files or an Enhanced object."
        )
    cosines = np.array([float(number) for number in orientation]).reshape(2, 3)
    first = np.array([float(number) for number in position])
    with np.errstate(over="ignore", invalid="ignore"):  # such frames are refused as not placed
        normal = np.cross(*cosines) * float(step)
        places = [first + index * normal for index in range(header.frames)]
    return tuple(
        Frame(
            header=header,
            index=index,
            box=None,
            position=tuple(places[index].tolist()),
            orientation=tuple(cosines.ravel().tolist()),
            spacing=tuple(float(number) for number in spacing),
            slope=float(dataset.get("RescaleSlope") or 1),
            intercept=float(dataset.get("RescaleIntercept") or 0),
            unit="",
            thickness_mm=abs(float(step)),
            traits={},
        )
        for index in range(header.frames)
    )
