"""What all objects of a result share: identifiers, and the patient and study of their source."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from tfseg.io.dicom.damage import damage, lenient

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER = "tfseg"
# Type 2 of Patient, General Study and Frame of Reference: present, perhaps empty (PS3.3 C.7.1.1,
# C.7.2.1, C.7.4.1).
_TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
_OTHERS = (
    "StudyInstanceUID", "StudyDescription", "PatientIdentityRemoved", "DeidentificationMethod",
    "FrameOfReferenceUID", "TimezoneOffsetFromUTC",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "ClinicalTrialCoordinatingCenterName",
)  # fmt: skip
CHARACTER_SET = "ISO_IR 192"  # UTF-8: it holds every name, whatever the source is written in
LONGEST_TEXT = 1024  # characters of ST; LT holds more (PS3.5 6.2)
# Values that are not as PS3.5 6.2 has them would make the result invalid: they become empty.
_DATES = {"PatientBirthDate", "StudyDate"}
_FORMS = {
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "PatientSex": "[MFO]",
    "FrameOfReferenceUID": r"[0-9.]{1,64}",
    "TimezoneOffsetFromUTC": r"[+-]\d{4}",
}


@dataclass(frozen=True)
class Stamp:
    """When a result was made and of what: the same stamp gives the same identifiers.

    Attributes:
        when: date and time that the objects bear.
        entropy: text that names the result: its source, its model and its voxels.
    """

    when: datetime
    entropy: str

    @classmethod
    def now(cls, *entropy: str | bytes) -> Stamp:
        """Return the stamp of a result that is made now."""
        digest = hashlib.sha256()
        for part in entropy:
            digest.update(part.encode() if isinstance(part, str) else part)
        return cls(datetime.now(), digest.hexdigest())

    def uid(self, *what: str) -> str:
        """Return an identifier of one thing in the result; see PS3.5 B.2 for its form."""
        from pydicom.uid import generate_uid

        return str(generate_uid(entropy_srcs=[self.when.isoformat(), self.entropy, *what]))

    @property
    def date(self) -> str:
        """DICOM's date, YYYYMMDD."""
        return self.when.strftime("%Y%m%d")

    @property
    def time(self) -> str:
        """DICOM's time, HHMMSS.FFFFFF."""
        return self.when.strftime("%H%M%S.%f")


def identity(header: Dataset) -> Dataset:
    """Return patient, study and frame of reference of a source, for the objects made from it.

    DICOM files a result with its patient and study by these alone. Elements that must be there
    are there, empty where the source lacks them or where the value is no date, time or sex; no
    private element is copied. A source without a frame of reference gets one of its own, derived
    from its SeriesInstanceUID.
    """
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    result = Dataset()
    result.SpecificCharacterSet = CHARACTER_SET
    with lenient():
        for keyword in (*_TYPE_2, *_OTHERS):
            value = header.get(keyword)
            if value is None or value == "" or _is_malformed(keyword, value):
                if keyword in _TYPE_2:
                    setattr(result, keyword, "")
                continue
            # As text: a name keeps the bytes of its own character set otherwise.
            setattr(result, keyword, str(value) if keyword.endswith("Name") else value)
        if methods := _codes(header, "DeidentificationMethodCodeSequence"):
            result.DeidentificationMethodCodeSequence = methods
        if not result.get("FrameOfReferenceUID"):
            series = str(header.SeriesInstanceUID)
            result.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame of reference", series])
    return result


def _codes(header: Dataset, keyword: str) -> list[Dataset]:
    """Return a sequence of codes anew, of what a code is made of alone; empty if damaged."""
    from pydicom import Dataset

    codes = []
    try:
        for item in header.get(keyword) or ():
            code = Dataset()
            for part in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"):
                setattr(code, part, text(str(item.get(part) or "")))
            codes.append(code)
    except damage():
        return []
    return codes


def _is_malformed(keyword: str, value: object) -> bool:
    if keyword in _DATES:
        return not _is_date(str(value))
    form = _FORMS.get(keyword)
    return form is not None and re.fullmatch(form, str(value)) is None


def _is_date(value: str) -> bool:
    """Tell whether a value is a day of the calendar, YYYYMMDD."""
    if not re.fullmatch(r"\d{8}", value):
        return False
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return False
    return True


def text(value: str, most: int = 64) -> str:
    """Return a string as DICOM's LO and SH hold it: one line, no backslash, not too long."""
    printable = "".join(one if one.isprintable() and one != "\\" else " " for one in value)
    return " ".join(printable.split())[:most].strip()


def series_number(header: Dataset) -> int:
    """Return the number of a result's series: that of its source after 1000."""
    with lenient():
        found = str(header.get("SeriesNumber") or "")
    return 1000 + (int(found) % 1_000_000 if found.isdecimal() else 0)
