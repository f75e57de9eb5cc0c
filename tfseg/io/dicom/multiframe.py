"""Frames of multi-frame files: functional groups of Enhanced CT, MR and PET, and NM.

Enhanced objects (PS3.3 C.7.6.16) say of each frame where it lies, in a group of its own or in
one that all share. For nuclear medicine see :mod:`.nuclear`.
"""

from __future__ import annotations

from typing import Any

from tfseg.errors import DataError
from tfseg.io.dicom.charsets import printable
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.dataset import sequences
from tfseg.io.dicom.frames import Frame, Header, scale_of
from tfseg.io.dicom.moments import seconds
from tfseg.io.dicom.nuclear import ELEMENTS, slices
from tfseg.io.dicom.traits import Traits

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# What may stand outside the groups, for all frames: Multi-frame Secondary Capture has its rescale
# there (PS3.3 A.8.4.4).
_FOR_ALL = (
    "PixelSpacing", "SpacingBetweenSlices", "SliceThickness", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "RescaleType",
)  # fmt: skip
_TWO_SCALES = (
    "the rescale of the functional groups is taken (PS3.3 C.7.6.16.2.9); outside them is another"
)
_PLACES = frozenset(("ImagePositionPatient", "InStackPositionNumber", "StackID"))


def frames_of(header: Header) -> tuple[Frame, ...]:
    """Return the frames of a multi-frame file, in the order in which they are stored.

    Raises:
        DataError: nothing says where the frames lie, or what says it is damaged.
    """
    wanted = (*_GROUPS, *_FOR_ALL, "DimensionIndexSequence") if header.has_groups else ELEMENTS
    dataset = sequences(header.path, header.name, wanted)
    try:
        with lenient():
            return _grouped(header, dataset) if header.has_groups else slices(header, dataset)
    except DataError:
        raise
    except damage() as error:
        raise DataError(
            f"{header.name}: the description of the frames is damaged ({reason(error)})."
        ) from error


def _grouped(header: Header, dataset: Any) -> tuple[Frame, ...]:
    from pydicom.datadict import keyword_for_tag

    shared = dataset.get(_GROUPS[0]) or [{}]
    groups = dataset.get(_GROUPS[1])
    if groups is None or len(groups) != header.frames:
        raise DataError(
            f"{header.name}: each of the {header.frames} frames needs a functional group; there "
            f"are {0 if groups is None else len(groups)}. Export the series again."
        )
    pointers = [
        keyword_for_tag(item.get("DimensionIndexPointer") or 0)
        for item in dataset.get("DimensionIndexSequence") or ()
    ]
    values = "PixelValueTransformationSequence"
    scaled = [bool(group.get(values)) for group in groups]
    if any(scaled) and not all(scaled) and not shared[0].get(values):
        raise DataError(
            f"{header.name}: either all frames have a rescale slope and intercept or none has; "
            f"frame {scaled.index(False) + 1} has none. Export the series again."
        )
    return tuple(
        _frame(header, index, group, (shared[0], dataset), pointers)
        for index, group in enumerate(groups)
    )


def _frame(
    header: Header, index: int, own: Any, others: tuple[Any, Any], pointers: list[str]
) -> Frame:
    shared, top = others

    def find(sequence: str, keyword: str) -> Any:
        for group in (own, shared):
            items = group.get(sequence)
            value = items[0].get(keyword) if items else None
            if value is not None and value != "":
                return value
        value = top.get(keyword) if keyword in _FOR_ALL else None
        return None if value == "" else value

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

    def rescale(keyword: str) -> float | None:
        value = find("PixelValueTransformationSequence", keyword)
        if value is None:
            return None
        if hasattr(value, "__len__"):
            shown = printable("\\".join(map(str, value)))[:60]
            raise DataError(
                f"{header.name} frame {index + 1}: {keyword} must have 1 value; it is '{shown}'. "
                "Correct the header, or export the series again."
            )
        return float(value)

    if find("PixelValueTransformationSequence", "ModalityLUTSequence") or any(
        group.get("ModalityLUTSequence") for group in (own, shared)
    ):
        raise DataError(
            f"{header.name} frame {index + 1}: a Modality LUT in a functional group is not read "
            "(PS3.3 C.7.6.16.2.9 has a rescale there). Export single-frame files."
        )
    slope, intercept = rescale("RescaleSlope"), rescale("RescaleIntercept")
    outside = (top.get("RescaleSlope"), top.get("RescaleIntercept"))
    differs = any(
        other not in {None, ""} and (hasattr(other, "__len__") or float(other) != value)
        for other, value in zip(outside, (slope, intercept), strict=True)
    )
    measures = "PixelMeasuresSequence"
    thickness = number(measures, "SliceThickness", 0) or number(measures, "SpacingBetweenSlices", 0)
    values, content = "PixelValueTransformationSequence", "FrameContentSequence"
    kind = _frame_type(find)
    traits: Traits = {
        "image type": "/".join(kind[2:]) or None,
        "kind": "/".join(kind[:2]) or None,
        "component": text(find("MRImageFrameTypeSequence", "ComplexImageComponent")),
        "echo": numbers("MREchoSequence", "EffectiveEchoTime", 1),
        "inversion": numbers("MRModifierSequence", "InversionTimes", 1),
        "b": numbers("MRDiffusionSequence", "DiffusionBValue", 1),
        "direction": _direction(find("MRDiffusionSequence", "DiffusionGradientDirectionSequence")),
        "time": (
            numbers(content, "TemporalPositionIndex", 1)
            or numbers("TemporalPositionSequence", "TemporalPositionTimeOffset", 1)
        ),
        "phase": (
            numbers("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", 1)
            or numbers("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", 1)
            or numbers("RespiratorySynchronizationSequence",
                       "NominalPercentageOfRespiratoryPhase", 1)
        ),
        "acquisition": numbers(content, "FrameAcquisitionNumber", 1),
        "stack": text(find(content, "StackID")),
        "kernel": text(find("CTReconstructionSequence", "ConvolutionKernel")),
        "kvp": numbers("CTXRayDetailsSequence", "KVP", 1),
        "flip angle": numbers("MRTimingAndRelatedParametersSequence", "FlipAngle", 1),
        "repetition": numbers("MRTimingAndRelatedParametersSequence", "RepetitionTime", 1),
        "label": text(find("MRArterialSpinLabelingSequence", "ASLContext")),
        "thickness": numbers(measures, "SliceThickness", 1),
        "acquired": seconds(str(find(content, "FrameAcquisitionDateTime") or ""), "", ""),
        "reference time": seconds(str(find(content, "FrameReferenceDateTime") or ""), "", ""),
        "dimension": _dimensions(find(content, "DimensionIndexValues"), pointers),
    }  # fmt: skip
    return Frame(
        header=header,
        index=index,
        box=None,
        position=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing=numbers(measures, "PixelSpacing", 2),
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        unit=printable(str(find(values, "RescaleType") or "")),
        thickness_mm=abs(thickness) or None,
        traits={name: value for name, value in traits.items() if value is not None},
        scale=scale_of(slope, intercept),
        remarks=(_TWO_SCALES,) if differs else (),
    )


def text(value: Any) -> str | None:
    """Return a value of one or several strings on one line."""
    several = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    return printable("/".join(str(one) for one in several if one is not None)) or None


def _frame_type(find: Any) -> tuple[str, ...]:
    for kind in ("MR", "CT", "PET"):
        value = find(f"{kind}ImageFrameTypeSequence", "FrameType")
        if value is not None and not isinstance(value, str):
            return tuple(printable(str(part)) for part in value)
    return ()


def _dimensions(values: Any, pointers: list[str]) -> tuple[float, ...] | None:
    """Return the indices of a frame along all dimensions but those in space (PS3.3 C.7.6.17)."""
    several = values if hasattr(values, "__len__") else [values]
    if values is None or len(several) != len(pointers):
        return None
    return (
        tuple(
            float(value)
            for value, pointer in zip(several, pointers, strict=True)
            if pointer not in _PLACES
        )
        or None
    )


def _direction(items: Any) -> tuple[float, ...] | None:
    value = items[0].get("DiffusionGradientOrientation") if items else None
    return None if value is None else tuple(float(number) for number in value)
