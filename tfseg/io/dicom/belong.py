"""Files of one SeriesInstanceUID that are not of one series.

A series is of one patient, one study and one frame of reference (PS3.3 A.1.2), and has one
number. Anonymisers and exports break that: then what the files say of themselves parts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfseg.io.dicom.frames import Frame, Header

_Key = tuple[str, ...]
# What is parted -> by what. An empty part agrees with the one value that the others have.
_PARTS: tuple[tuple[str, str, Callable[[Header], _Key]], ...] = (
    ("patient", "patients", lambda header: header.owner),
    ("study", "studies", lambda header: (header.study_uid,)),
    ("series number", "series numbers", lambda header: (str(header.number or ""),)),
    ("frame of reference", "frames of reference", lambda header: (header.space_uid,)),
)
_NEEDED = ("patient", "study")  # where it is said that some files do not tell
_NEW_EACH = ("study", "frame of reference")  # some writers make a new UID for every file


def in_order(sheets: Sequence[Frame]) -> list[Frame]:
    """Order files by what they say, so that names and places of files decide nothing."""
    return sorted(sheets, key=_order)


def _order(sheet: Frame) -> tuple[object, ...]:
    header = sheet.header
    traits = sorted((name, repr(value)) for name, value in sheet.traits.items())
    return (header.number, header.instance, header.instance_uid, sheet.position or (), traits,
            header.owner, header.study_uid, header.space_uid, header.frames,
            str(header.pixels))  # fmt: skip


def parted(sheets: Sequence[Frame]) -> list[tuple[list[Frame], str, tuple[str, ...]]]:
    """Part the files of one SeriesInstanceUID.

    Args:
        sheets: as from :func:`in_order`.

    Returns:
        For each part its files, what tells it apart (empty where all belong together; patients
        and studies are numbered, not named), and sentences on it.
    """
    parts: list[tuple[list[Frame], str, tuple[str, ...]]] = [(list(sheets), "", ())]
    for name, plural, key in _PARTS:
        smaller = []
        for files, label, said in parts:
            groups, guessed = _groups(files, key)
            if name in _NEEDED and guessed:
                said = (*said, f"{guessed} of {len(files)} files do not say of which {name} they "
                        "are: taken with the others of the series")  # fmt: skip
            if name in _NEW_EACH and 3 <= len(files) == len(groups):
                said = (*said, f"each of {len(files)} files has another {name}: their common "
                        "SeriesInstanceUID is believed")  # fmt: skip
                groups = [files]
            if len(groups) > 1:
                said = (*said, f"files of {len(groups)} {plural} share a SeriesInstanceUID: they "
                        "are kept apart")  # fmt: skip
            for number, group in enumerate(groups, 1):
                more = f"{name} {number}" if len(groups) > 1 and name != "series number" else ""
                smaller.append((group, ", ".join(filter(None, (label, more))), said))
        parts = smaller
    return parts


def _groups(files: list[Frame], key: Callable[[Header], _Key]) -> tuple[list[list[Frame]], int]:
    """Group files by a key, in their order; and count those that lack a part of it."""
    keys = [key(file.header) for file in files]
    columns = [{value for value in column if value} for column in zip(*keys, strict=True)]
    lone = [next(iter(column)) if len(column) == 1 else "" for column in columns]
    groups: dict[_Key, list[Frame]] = {}
    guessed = 0
    for file, values in zip(files, keys, strict=True):
        filled = tuple(value or only for value, only in zip(values, lone, strict=True))
        guessed += filled != values
        groups.setdefault(filled, []).append(file)
    return list(groups.values()), guessed
