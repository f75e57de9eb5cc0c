"""What of a header may be written where the patient must not be named.

What people type, such as SeriesDescription, may hold anything, a name too: it is left out. What
devices fill in is kept, unless it holds a word of those elements that name people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfseg.errors import DataError
from tfseg.io.dicom.damage import damage, lenient
from tfseg.io.dicom.dataset import read_dataset

TYPED = ("SeriesDescription", "ProtocolName", "ContrastBolusAgent")
LEFT_OUT = "(left out)"

_NAMES = (
    "PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "ResponsiblePerson", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "RequestingPhysician", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord",
)  # fmt: skip
_NUMBERS = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "AdmissionID", "PatientTelephoneNumbers",
    "MedicalRecordLocator", "IssuerOfPatientID",
)  # fmt: skip
_DATES = ("PatientBirthDate",)
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae"})
_SHORTEST = 2  # characters of a name: initials are in every text


@dataclass(frozen=True)
class Private:
    """The words of a header that name people, and what was typed into it.

    Attributes:
        words: parts of names, in small letters without accents.
        numbers: identifiers, letters and digits alone, in small letters.
        typed: texts that people typed.
    """

    words: frozenset[str]
    numbers: frozenset[str]
    typed: tuple[str, ...]

    def names_someone(self, text: str) -> bool:
        """Tell whether a text holds a part of a name, a number or a date of birth."""
        plain = _plain(text)
        bare = re.sub(r"[^a-z0-9]", "", plain)
        return not self.words.isdisjoint(re.findall(r"\w+", plain)) or any(
            number in bare for number in self.numbers
        )

    def holds(self, number: int) -> bool:
        """Tell whether a number is one of the patient's, but for zeros before it.

        One or two digits tell of nobody: a series has such a number by chance.
        """
        digits = str(number)
        return len(digits) > _SHORTEST and digits in {one.lstrip("0") for one in self.numbers}

    def clean(self, text: str) -> str:
        """Return a text without what was typed, or a note in its place where it names someone."""
        for one in self.typed:
            text = text.replace(one, LEFT_OUT)
        return LEFT_OUT if self.names_someone(text) else text


def private_words(path: Path) -> Private:
    """Return what a file's header says of people.

    Raises:
        DataError: the file cannot be read.
    """
    keywords = [*_NAMES, *_NUMBERS, *_DATES, *TYPED]
    try:
        with lenient():
            header = read_dataset(path, keywords=keywords)
            return private_words_of(header)
    except damage() as error:
        raise DataError("the header of its first file is damaged. Copy the files again.") from error


def private_words_of(header: Any) -> Private:
    """Return what a data set of pydicom says of people."""
    words = {
        word
        for text in _texts(header, _NAMES)
        for form in (text, text.casefold().translate(_SPELLED_OUT))
        for word in re.findall(r"\w+", _plain(form))
        if len(word) >= _SHORTEST
    }
    numbers = {re.sub(r"[^a-z0-9]", "", _plain(text)) for text in _texts(header, _NUMBERS)}
    for date in _texts(header, _DATES):
        year, month, day = date[:4], date[4:6], date[6:8]
        if len(date) == 8 and date.isdecimal():
            numbers |= {date, f"{day}{month}{year}", f"{month}{day}{year}"}
    typed = sorted(set(_texts(header, TYPED)), key=len, reverse=True)
    # A number of one or two characters is in every text; it names nobody by itself.
    return Private(
        frozenset(words), frozenset(one for one in numbers if len(one) > _SHORTEST), tuple(typed)
    )


def _texts(header: Any, keywords: Iterable[str]) -> list[str]:
    from pydicom.multival import MultiValue

    found: list[str] = []
    for keyword in keywords:
        value = header.get(keyword)
        several = value if isinstance(value, MultiValue | list | tuple) else [value]
        found += [str(one).strip() for one in several if one is not None and str(one).strip()]
    return found


def _plain(text: str) -> str:
    """Return a text in small letters without accents."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(mark for mark in apart if not unicodedata.combining(mark)).casefold()
