"""Slices of reconstructed nuclear medicine (PS3.3 C.8.4).

One position is given, that of the first voxel that is transmitted (NM Detector, C.8.4.11), so of
the first frame. The other slices follow at steps of SpacingBetweenSlices (NM Reconstruction,
C.8.4.15) along the normal, by the difference of their numbers. Vectors (NM Multi-frame, C.8.4.8)
say of each frame which slice it is, and of which energy window, detector, interval and time slot.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfseg.errors import DataError
from tfseg.io.dicom.frames import Frame, Header, scale_of

# Vector -> the trait that it gives.
_VECTORS = {
    "EnergyWindowVector": "energy window",
    "DetectorVector": "detector",
    "RRIntervalVector": "rr interval",
    "TimeSlotVector": "time slot",
    "PhaseVector": "phase",
    "TimeSliceVector": "time",
}
ELEMENTS = (
    "DetectorInformationSequence", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness",
    "RescaleSlope", "RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient",
    "NumberOfSlices", "SliceVector", *_VECTORS,
)  # fmt: skip
_NOT_FIRST = (
    "SliceVector does not begin with the lowest slice: the position is taken as that of the first "
    "frame (PS3.3 C.8.4.11), and higher slices as further along SpacingBetweenSlices"
)
# ImageType, third value: views from around the patient, and not slices of it.
_VIEWS = frozenset(("STATIC", "WHOLE BODY", "DYNAMIC", "GATED", "TOMO", "GATED TOMO"))


def slices(header: Header, dataset: Any) -> tuple[Frame, ...]:
    """Return the frames of a file without functional groups, in the order they are stored.

    Raises:
        DataError: nothing says where the frames lie, or the vectors contradict each other.
    """
    kind = header.image_type[2] if len(header.image_type) > 2 else ""
    if header.modality == "NM" and kind in _VIEWS:
        raise DataError(
            f"{header.name} holds {header.frames} frames of type {kind}: they are views of the "
            "patient, not slices. Reconstruct them first."
        )
    detectors = list(dataset.get("DetectorInformationSequence") or [dataset])
    spacing, step = dataset.get("PixelSpacing"), dataset.get("SpacingBetweenSlices")
    numbers, traits = _vectors(header, dataset)
    remarks = (_NOT_FIRST,) if min(numbers) < 0 else ()
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    frames = []
    for index in range(header.frames):
        which = int(traits[index].get("detector", (1.0,))[0])
        detector = detectors[which - 1] if 1 <= which <= len(detectors) else detectors[0]
        position = detector.get("ImagePositionPatient") or dataset.get("ImagePositionPatient")
        orientation = detector.get("ImageOrientationPatient") or dataset.get(
            "ImageOrientationPatient"
        )
        if position and orientation and spacing and not step and header.modality == "NM":
            raise DataError(
                f"{header.name} holds {header.frames} slices and needs SpacingBetweenSlices, their "
                "distance; it has none. Export the reconstruction again."
            )
        if not position or not orientation or not spacing or not step or header.modality != "NM":
            raise DataError(
                f"{header.name} holds {header.frames} frames and nothing says where they lie "
                f"(modality {header.modality}). Export single-frame files or an Enhanced object."
            )
        cosines = np.array([float(number) for number in orientation]).reshape(2, 3)
        with np.errstate(over="ignore", invalid="ignore"):  # such frames are refused as not placed
            first = np.array([float(number) for number in position])
            place = first + numbers[index] * np.cross(*cosines) * float(step)
        frames.append(
            Frame(
                header=header,
                index=index,
                box=None,
                position=tuple(place.tolist()),
                orientation=tuple(cosines.ravel().tolist()),
                spacing=tuple(float(number) for number in spacing),
                slope=1.0 if slope is None else float(slope),
                intercept=0.0 if intercept is None else float(intercept),
                unit="",
                thickness_mm=abs(float(dataset.get("SliceThickness") or step)) or None,
                traits=dict(traits[index]),
                scale=scale_of(slope, intercept),
                remarks=remarks,
            )
        )
    return tuple(frames)


def _vectors(header: Header, dataset: Any) -> tuple[list[int], list[dict[str, tuple[float, ...]]]]:
    """Return for each frame its slice, counted from that of the first frame, and its traits."""
    columns = {name: _vector(header, dataset, name) for name in ("SliceVector", *_VECTORS)}
    slice_numbers = columns.pop("SliceVector")
    traits: list[dict[str, tuple[float, ...]]] = [
        {_VECTORS[name]: (float(values[index]),) for name, values in columns.items() if values}
        for index in range(header.frames)
    ]
    if slice_numbers:
        return [number - slice_numbers[0] for number in slice_numbers], traits
    several = int(dataset.get("NumberOfSlices") or header.frames)
    if several != header.frames or any(len(set(values)) > 1 for values in columns.values()):
        raise DataError(
            f"{header.name}: {header.frames} frames of {several} slices need a SliceVector that "
            "says which is which; there is none. Export the reconstruction again."
        )
    return list(range(header.frames)), traits


def _vector(header: Header, dataset: Any, name: str) -> list[int]:
    value = dataset.get(name)
    if value is None or value == "":
        return []
    values = [int(number) for number in (value if hasattr(value, "__len__") else [value])]
    if len(values) != header.frames:
        raise DataError(
            f"{header.name}: {name} must have a number for each of {header.frames} frames; it "
            f"has {len(values)}."
        )
    return values
