"""Dates and times of DICOM (PS3.5 6.2: DA, TM, DT)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)$")
_HOUR_S = 3600.0
DAY_S = 24 * _HOUR_S
_NEAR_MIDNIGHT_S = 2 * _HOUR_S


def moment(text: str) -> datetime | None:
    """Read ``YYYYMMDDHHMMSS.ffffff``, without its offset from UTC; ``None`` where it is none.

    Minutes, seconds and fractions may lack, as may the punctuation of ACR-NEMA be there.
    """
    bare = re.sub(r"[:\s]", "", _OFFSET.sub("", text.strip(" \0")))
    digits, _, fraction = bare.partition(".")
    if not 10 <= len(digits) <= 14 or not digits.isdecimal():
        return None
    try:
        found = datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return found + timedelta(seconds=float(f"0.{fraction}") if fraction.isdecimal() else 0.0)


def day_and_time(date: str, time: str) -> datetime | None:
    """Read a date and a time of day; ``None`` where either is missing or is none."""
    day, clock = re.sub(r"[.\s]", "", date), time.strip(" \0")
    return moment(day + clock) if len(day) == 8 and clock else None


def offset_from_utc(text: str) -> timedelta | None:
    """Return the offset that ends a DT, or TimezoneOffsetFromUTC; ``None`` where there is none."""
    found = _OFFSET.search(text.strip(" \0"))
    if not found:
        return None
    size = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return -size if found[1] == "-" else size


def seconds(whole: str, date: str, time: str) -> tuple[float] | None:
    """Return when something was, in seconds; of a time without its date, since midnight.

    Args:
        whole: date and time in one (DT), which goes first.
        date: DA.
        time: TM.
    """
    found = moment(whole) or day_and_time(date, time)
    if found is not None:
        return ((found - datetime(1970, 1, 1)).total_seconds(),)
    clock = day_and_time("19700101", time)
    return None if clock is None else ((clock - datetime(1970, 1, 1)).total_seconds(),)


def past_midnight(times: list[float]) -> list[float]:
    """Move what came after midnight behind what came before it, where no date says so.

    Args:
        times: seconds, as from :func:`seconds`.
    """
    if not times or max(times) - min(times) >= DAY_S:
        return times  # the dates differ: they say it
    clocks = [time % DAY_S for time in times]
    if min(clocks) > _NEAR_MIDNIGHT_S or max(clocks) < DAY_S - _NEAR_MIDNIGHT_S:
        return times
    if max(times) - min(times) < DAY_S / 2:
        return times  # likewise
    return [time + DAY_S if clock < DAY_S / 2 else time
            for time, clock in zip(times, clocks, strict=True)]  # fmt: skip
