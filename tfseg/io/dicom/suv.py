"""Standardised uptake values of PET, by body weight.

``SUV = activity [Bq/ml] * weight [g] / dose [Bq]``, the dose decayed to the time to which the
pixels are: the start of the series where DecayCorrection is START (PS3.3 C.8.9.1), the
injection where it is ADMIN. Steps as in QIBA's vendor-neutral pseudo-code, "SUV" 2012. What a
header says and no scan can be is not computed with: a wrong day, minutes for seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any

from tfseg.errors import DataError
from tfseg.io.dicom.damage import damage, lenient
from tfseg.io.dicom.dataset import sequences
from tfseg.io.dicom.frames import Frame
from tfseg.io.dicom.moments import DAY_S, day_and_time, moment, offset_from_utc

_ELEMENTS = (
    "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesDate", "SeriesTime", "SUVType",
    "TimezoneOffsetFromUTC", "RadiopharmaceuticalInformationSequence", 0x70530010, 0x70531000,
)  # fmt: skip
UNIT = "SUVbw g/ml"
# Scans begin within these half-lives: those of fluorine-18 within 7 hours, of copper-64 within two
# days; of tracers that live minutes, a little of the dose is enough.
_MOST_HALF_LIVES, _MOST_OF_SHORT = 4, 10
_SHORT_S = 3600.0
_SAME_TIME_S = 60.0
_WEIGHT_KG = (0.01, 500.0)  # from a mouse on
_DOSE_BQ = (1e5, 1e11)
# Code value (SCT and SRT, PS3.16 CID 4020) -> nuclide and half-life in s.
_NUCLIDES = {
    code: (name, half_life_s)
    for codes, name, half_life_s in (
        (("40565003", "C-105A1"), "C-11", 1221.8), (("21576001", "C-107A1"), "N-13", 597.9),
        (("129504001", "C-B1038"), "O-15", 122.2), (("77004003", "C-111A1"), "F-18", 6586.2),
        (("3932008", "C-127A2"), "Cu-64", 45721.0), (("35337001", "C-131A3"), "Ga-68", 4062.6),
        (("79197006", "C-159A2"), "Rb-82", 76.4), (("63360001", "C-168A4"), "Zr-89", 282276.0),
        (("40937006", "C-114A5"), "I-124", 360806.0),
    )
    for code in codes
}  # fmt: skip
_HALF_LIFE_TOLERANCE = 0.03  # tables in use differ: rubidium-82 has 75 s in some
_OF_ALL = ("PatientWeight", "DecayCorrection", "CorrectedImage", "SUVType", 0x70531000,
           "SeriesDate", "SeriesTime", "TimezoneOffsetFromUTC")  # fmt: skip
_OF_DRUG = ("RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime",
            "RadiopharmaceuticalStartDateTime")  # fmt: skip
_HALF_LIFE_S = (10.0, 1e7)  # rubidium-82 has 76 s, iodine-124 four days


class _NotPossibleError(Exception):
    """What the header lacks."""


@dataclass(frozen=True)
class Uptake:
    """Slices in their unit.

    Attributes:
        frames: with slopes and intercepts that give ``unit``.
        unit: ``SUVbw g/ml``, or DICOM's code where it cannot be computed, e.g. ``BQML``.
        decision: a sentence for the report.
        doubtful: whether the header contradicts itself.
    """

    frames: tuple[Frame, ...]
    unit: str
    decision: str
    doubtful: bool = False


def uptake(frames: tuple[Frame, ...]) -> Uptake:
    """Scale PET slices to SUV; they stay in their own unit where the header lacks what it takes.

    Raises:
        DataError: the header is damaged, or slices have several units.
    """
    units = sorted({frame.unit for frame in frames})
    if len(units) > 1:
        raise DataError(
            f"slices of one volume must have one unit (Units); {frames[0].name} and others have "
            f"{', '.join(unit or 'none' for unit in units)}."
        )
    files = {frame.header.path: frame for frame in frames}
    datasets = [sequences(path, frame.name, _ELEMENTS) for path, frame in files.items()]
    dataset, unit = datasets[0], units[0]
    try:
        with lenient():
            _require_one(datasets, list(files.values()))
            factor, said, doubt = _factor(dataset, unit, frames)
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
    return Uptake(scaled, UNIT, said + doubt, bool(doubt))


def _require_one(datasets: list[Any], frames: list[Frame]) -> None:
    """Compare what SUV is computed from, which is that of one injection and one patient."""
    for keyword in (*_OF_ALL, *_OF_DRUG):
        values = [_shown(dataset, keyword) for dataset in datasets]
        for value, frame in zip(values, frames, strict=True):
            if value != values[0]:
                name = keyword if isinstance(keyword, str) else f"({keyword >> 16:04x},1000)"
                raise _NotPossibleError(
                    f"one {name} in all files; {frame.name} has another than {frames[0].name}"
                )


def _shown(dataset: Any, keyword: str | int) -> str:
    items = dataset.get("RadiopharmaceuticalInformationSequence") or ()
    places = items if keyword in _OF_DRUG else [dataset]
    found = (place.get(keyword) for place in places)
    return repr([str(getattr(value, "value", value)) for value in found])


def _contradicted(item: Any, half_life_s: float) -> str:
    """Return a doubt where the half-life is not that of the nuclide that is coded."""
    for code in item.get("RadionuclideCodeSequence") or ():
        known = _NUCLIDES.get(str(code.get("CodeValue") or ""))
        if known and abs(half_life_s / known[1] - 1) > _HALF_LIFE_TOLERANCE:
            return (
                f"; RadionuclideHalfLife, {half_life_s:g} s, is used, and that of the coded "
                f"{known[0]} is {known[1]:g} s"
            )
    return ""


def _factor(dataset: Any, unit: str, frames: tuple[Frame, ...]) -> tuple[float, str, str]:
    """Return what to multiply values with, how that was found, and what is doubtful about it."""
    if unit == "GML":
        kind = str(dataset.get("SUVType") or "BW")
        if kind != "BW":
            raise _NotPossibleError(f"body weight (SUVType BW); it is by {kind}")
        return 1.0, "values are SUV by body weight already", ""
    if unit == "CNTS" and str(dataset.get(0x70530010, "")).upper().find("PHILIPS PET") >= 0:
        factor = float(dataset[0x70531000].value or 0)
        if factor > 0:
            return factor, "counts scaled to SUV by body weight with Philips' factor", ""
    if unit != "BQML":
        raise _NotPossibleError(
            f"Units BQML, GML, or CNTS of Philips; they are {unit or 'unknown'}"
        )
    corrected = dataset.get("CorrectedImage") or ()
    corrected = (corrected,) if isinstance(corrected, str) else corrected
    if not {"ATTN", "DECY"} <= {str(part) for part in corrected}:
        raise _NotPossibleError("correction of attenuation and decay (CorrectedImage)")
    items = dataset.get("RadiopharmaceuticalInformationSequence") or [{}]
    if len(items) > 1:
        raise _NotPossibleError(f"one radiopharmaceutical; there are {len(items)}")
    item = items[0]
    weight_kg = _within(dataset, "PatientWeight", _WEIGHT_KG, "kg")
    dose = _within(item, "RadionuclideTotalDose", _DOSE_BQ, "Bq")
    half_life_s = _within(item, "RadionuclideHalfLife", _HALF_LIFE_S, "s")
    correction, doubt = str(dataset.get("DecayCorrection") or "NONE"), ""
    if correction == "START":
        waited, doubt = _waited_s(dataset, item, frames)
        most = _MOST_OF_SHORT if half_life_s < _SHORT_S else _MOST_HALF_LIVES
        if waited > most * half_life_s:
            raise _NotPossibleError(
                f"an injection at most {most} half-lives before the scan; the header "
                f"says {waited / 3600:.1f} hours, and a half-life of {half_life_s / 60:.3g} minutes"
            )
        dose *= 2.0 ** (-waited / half_life_s)
    elif correction != "ADMIN":
        raise _NotPossibleError(f"DecayCorrection START or ADMIN; it is {correction}")
    doubt += _contradicted(item, half_life_s)
    return weight_kg * 1000 / dose, "activity scaled to SUV by body weight", doubt


def _within(dataset: Any, keyword: str, limits: tuple[float, float], unit: str) -> float:
    value = float(dataset.get(keyword) or 0)
    if not limits[0] <= value <= limits[1]:
        # No number of the patient's goes into the message.
        given = "it is missing" if not value else "it is not"
        raise _NotPossibleError(f"{keyword} of {limits[0]:g} to {limits[1]:g} {unit}; {given}")
    return value


def _waited_s(dataset: Any, item: Any, frames: tuple[Frame, ...]) -> tuple[float, str]:
    """Return the seconds from injection to the time that decay is corrected to, and a doubt."""
    start = _start(dataset, frames)
    if start is None:
        raise _NotPossibleError("SeriesDate and SeriesTime")
    injected, doubt = _injected(dataset, item, start)
    waited = (start - injected).total_seconds()
    if waited < 0:
        raise _NotPossibleError("an injection before the scan")
    if start.time() == injected.time() == time():
        raise _NotPossibleError("times of day; scan and injection are at midnight, as if removed")
    return waited, doubt


def _start(dataset: Any, frames: tuple[Frame, ...]) -> datetime | None:
    start = day_and_time(str(dataset.get("SeriesDate") or ""), str(dataset.get("SeriesTime") or ""))
    earliest = _first_acquisition(frames)
    if start is None or (earliest is not None and start > earliest):
        # Series made later from the pixels carry their own time; the scan began before.
        return earliest
    return start


def _injected(dataset: Any, item: Any, start: datetime) -> tuple[datetime, str]:
    """Return when the drug was given, in the time zone of ``start``, and a doubt."""
    text = str(item.get("RadiopharmaceuticalStartDateTime") or "")
    clock = str(item.get("RadiopharmaceuticalStartTime") or "")
    whole, doubt = moment(text), ""
    by_clock = day_and_time(start.strftime("%Y%m%d"), clock)
    if whole is None:
        if by_clock is None:
            raise _NotPossibleError("the time of injection (RadiopharmaceuticalStartTime)")
        # Given before midnight.
        return by_clock - timedelta(days=1) if by_clock > start else by_clock, ""
    agree = by_clock is not None and _apart_s(by_clock, whole) <= _SAME_TIME_S
    own, here = offset_from_utc(text), offset_from_utc(str(dataset.get("TimezoneOffsetFromUTC")))
    if own is not None and here is not None:
        whole += here - own
    elif own is not None and not agree:
        # The clock of the room would say whether the offset is that of the scanner.
        raise _NotPossibleError(
            "TimezoneOffsetFromUTC, since RadiopharmaceuticalStartDateTime has an offset"
        )
    if by_clock is not None and _apart_s(by_clock, whole) > _SAME_TIME_S:
        doubt = "; RadiopharmaceuticalStartDateTime is used, RadiopharmaceuticalStartTime differs"
    return whole, doubt


def _apart_s(one: datetime, other: datetime) -> float:
    """Return the seconds between two times of day, the shorter way round."""
    apart = (one - other).total_seconds() % 86400
    return min(apart, 86400 - apart)


def _first_acquisition(frames: tuple[Frame, ...]) -> datetime | None:
    """Return when the first slice was acquired, where day and time are known."""
    values = [frame.traits.get("acquired") for frame in frames]
    known = [value[0] for value in values if isinstance(value, tuple) and value[0] >= DAY_S]
    return datetime(1970, 1, 1) + timedelta(seconds=min(known)) if known else None
