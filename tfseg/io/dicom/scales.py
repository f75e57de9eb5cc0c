"""Whether the values of all slices are in one unit, before they are stacked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tfseg.errors import DataError
from tfseg.io.dicom.frames import UNSPECIFIED, Frame


def check_scales(frames: tuple[Frame, ...], what: str) -> tuple[str, ...]:
    """Return sentences on what is taken where the slices do not say it.

    A slice without the rescale of the others would have stored values among rescaled ones.

    Raises:
        DataError: slices differ in PhotometricInterpretation, or those that are mirrored in
            BitsStored; some have RescaleSlope and RescaleIntercept and others not; or they are in
            different units (PS3.3 C.11.1.1.2; of CT also C.8.2.1).
    """
    first = frames[0].header
    shown, odd = _majority(frames, lambda frame: frame.header.photometric)
    if odd is not None:
        raise DataError(
            f"{what}: all slices must have one PhotometricInterpretation, which says whether more "
            f"is brighter; {odd.name} has {odd.header.photometric or 'none'}, most have "
            f"{shown or 'none'}. Export the series again."
        )
    if frames[0].inverted and not first.signed:
        bits, odd = _majority(frames, lambda frame: str(frame.header.stored))
        if odd is not None:
            raise DataError(
                f"{what}: MONOCHROME1 is mirrored in the range of BitsStored, so it must be one; "
                f"{odd.name} has {odd.header.stored}, most have {bits}. Export the series "
                "again."
            )
    if not first.has_lut:
        scale, odd = _majority(frames, lambda frame: frame.scale)
        if odd is not None:
            raise DataError(
                f"{what}: either all slices have RescaleSlope and RescaleIntercept or none has; "
                f"{odd.name} has {_given(odd.scale)}, most have {_given(scale)}. Export the "
                "series again."
            )
    unit, odd = _majority(frames, _compared)
    if odd is not None and "" not in {unit, _compared(odd)}:
        raise DataError(
            f"{what}: the values of all slices must be in one unit (RescaleType, Units); "
            f"{odd.name} is in {_compared(odd)}, most are in {unit}. Export the series again."
        )
    if first.has_lut:
        both = any(frame.scale != "none" for frame in frames)
        return (
            ("a Modality LUT and a rescale are given, of which only one may be (PS3.3 C.11.1): the "
             "LUT is taken",) if both else ()
        )  # fmt: skip
    if scale == "both":
        return ()
    if scale == "none":
        if first.modality != "CT" or first.is_capture:
            return ()
        return (
            "no RescaleSlope and RescaleIntercept, which CT must have: the stored values are taken "
            "as they are",
        )
    missing, taken = ("RescaleIntercept", 0) if scale == "slope" else ("RescaleSlope", 1)
    return (f"{missing} is missing: {taken} is taken",)


def _majority(frames: tuple[Frame, ...], of: Callable[[Frame], str]) -> tuple[str, Frame | None]:
    """Return what most slices have, and the first slice that has something else."""
    found = [of(frame) for frame in frames]
    most = Counter(found).most_common(1)[0][0]
    others = (frame for frame, value in zip(frames, found, strict=True) if value != most)
    return most, next(others, None)


def _compared(frame: Frame) -> str:
    return frame.unit if frame.unit == UNSPECIFIED else frame.named_unit


def _given(scale: str) -> str:
    return {"both": "both", "none": "neither"}.get(scale, f"the {scale} alone")
