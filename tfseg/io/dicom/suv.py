"""Standardised uptake values of PET, by body weight.

``SUV = activity [Bq/ml] * weight [g] / dose [Bq]``, the dose decayed to the time to which the
pixels are: the start of the series where DecayCorrection is START (PS3.3 C.8.9.1), the
injection where it is ADMIN. Steps as in QIBA's vendor-neutral pseudo-code, "SUV" 2012.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tfseg.errors import DataError
from tfseg.io.dicom.damage import damage, lenient
from tfseg.io.dicom.elements import sequences
from tfseg.io.dicom.frames import Frame

_ELEMENTS = (
    "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesDate", "SeriesTime",
    "AcquisitionDate", "AcquisitionTime", "RadiopharmaceuticalInformationSequence",
    0x70530010, 0x70531000,
)  # fmt: skip
UNIT = "SUVbw g/ml"


class _NotPossibleError(Exception):
    """What the header lacks."""


@dataclass(frozen=True)
class Uptake:
    """Slices in their unit.

    Attributes:
        frames: with slopes and intercepts that give ``unit``.
        unit: ``SUVbw g/ml``, or DICOM's code where it cannot be computed, e.g. ``BQML``.
        decision: a sentence for the report.
    """

    frames: tuple[Frame, ...]
    unit: str
    decision: str


def uptake(frames: tuple[Frame, ...]) -> Uptake:
    """Scale PET slices to SUV; they stay in their own unit where the header lacks what it takes.

    Raises:
        DataError: the header is damaged.
    """
    dataset = sequences(frames[0].header.path, frames[0].name, _ELEMENTS)
    unit = frames[0].unit
    try:
        with lenient():
            factor, how = _factor(dataset, unit, frames)
    except _NotPossibleError as error:
        return Uptake(frames, unit, f"values stay in {unit or 'their unit'}: SUV needs {error}")
    except damage() as error:
        raise DataError(
            f"the PET elements of {frames[0].header.name} are damaged ({type(error).__name__})."
        ) from error
    scaled = tuple(
        replace(frame, slope=frame.slope * factor, intercept=frame.intercept * factor)
        for frame in frames
    )
    return Uptake(scaled, UNIT, how)


def _factor(dataset: Any, unit: str, frames: tuple[Frame, ...]) -> tuple[float, str]:
    if unit == "GML":
        return 1.0, "values are SUV by body weight already"
    if unit == "CNTS" and str(dataset.get(0x70530010, "")).upper().find("PHILIPS PET") >= 0:
        factor = float(dataset[0x70531000].value or 0)
        if factor > 0:
            return factor, "counts scaled to SUV by body weight with Philips' factor"
    if unit != "BQML":
        raise _NotPossibleError(
            f"Units BQML, GML, or CNTS of Philips; they are {unit or 'unknown'}"
        )
    corrected = dataset.get("CorrectedImage") or ()
    corrected = (corrected,) if isinstance(corrected, str) else corrected
    if not {"ATTN", "DECY"} <= {str(part) for part in corrected}:
        raise _NotPossibleError("correction of attenuation and decay (CorrectedImage)")
    weight_kg = float(dataset.get("PatientWeight") or 0)
    items = dataset.get("RadiopharmaceuticalInformationSequence")
    item = items[0] if items else {}
    dose = float(item.get("RadionuclideTotalDose") or 0)
    half_life_s = float(item.get("RadionuclideHalfLife") or 0)
    if not weight_kg > 0 or not dose > 0 or not half_life_s > 0:
        raise _NotPossibleError(
            "PatientWeight, RadionuclideTotalDose and RadionuclideHalfLife above 0"
        )
    correction = str(dataset.get("DecayCorrection") or "NONE")
    if correction == "START":
        waited = _waited_s(dataset, item, frames)
        dose *= 2.0 ** (-waited / half_life_s)
    elif correction != "ADMIN":
        raise _NotPossibleError(f"DecayCorrection START or ADMIN; it is {correction}")
    return weight_kg * 1000 / dose, "activity scaled to SUV by body weight"


def _waited_s(dataset: Any, item: Any, frames: tuple[Frame, ...]) -> float:
    """Return the seconds from injection to the time that decay is corrected to."""
    start = _moment(dataset.get("SeriesDate"), dataset.get("SeriesTime"))
    earliest = _first_acquisition(frames)
    if start is None or (earliest is not None and start > earliest):
        # Series made later from the pixels carry their own time; the scan began before.
        start = earliest
    if start is None:
        raise _NotPossibleError("SeriesDate and SeriesTime")
    injected = _datetime(str(item.get("RadiopharmaceuticalStartDateTime") or ""))
    if injected is None:
        clock = item.get("RadiopharmaceuticalStartTime")
        injected = _moment(start.strftime("%Y%m%d"), clock)
        if injected is not None and injected > start:
            injected -= timedelta(days=1)  # given before midnight
    if injected is None:
        raise _NotPossibleError("the time of injection (RadiopharmaceuticalStartTime)")
    waited = (start - injected).total_seconds()
    if waited < 0:
        raise _NotPossibleError("an injection before the scan")
    return waited


def _first_acquisition(frames: tuple[Frame, ...]) -> datetime | None:
    """Return when the first slice was acquired."""
    moments = []
    for path, name in {frame.header.path: frame.header.name for frame in frames}.items():
        dataset = sequences(path, name, ("AcquisitionDate", "AcquisitionTime"))
        moments.append(_moment(dataset.get("AcquisitionDate"), dataset.get("AcquisitionTime")))
    known = [moment for moment in moments if moment is not None]
    return min(known) if known else None


def _moment(date: Any, time: Any) -> datetime | None:
    return _datetime(f"{date or ''}{time or ''}") if date and time else None


def _datetime(text: str) -> datetime | None:
    """Read DICOM's ``YYYYMMDDHHMMSS.ffffff``; seconds and fractions may lack."""
    digits, _, fraction = text.strip().split("+")[0].split("-")[0].partition(".")
    if len(digits) < 10 or not digits.isdigit():
        return None
    padded = digits.ljust(14, "0")
    try:
        moment = datetime.strptime(padded, "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return moment + timedelta(seconds=float(f"0.{fraction}") if fraction.isdigit() else 0.0)
