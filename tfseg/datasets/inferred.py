"""What a plain folder does not say, learned from its files: channels and label values."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tfseg.datasets.base import IGNORE_NAME, IGNORED, Case, classes_of
from tfseg.datasets.reading import one_channel, shown
from tfseg.errors import DataError
from tfseg.io import is_picture, read_volume
from tfseg.io.references import object_kind, structure_names
from tfseg.volume import Volume

LABELS_FILE = "labels.csv"
_LOOKED_AT = 20  # label maps read to learn which values there are
_MAX_LABELS = 255  # label maps are uint8


def label_table(
    root: Path, cases: Sequence[Case]
) -> tuple[dict[int, int], tuple[str, ...], tuple[str, ...]]:
    """Return stored value -> class, the classes' names, and remarks.

    ``labels.csv`` (value,name a line) declares them. Without it the first label maps are read
    and every value found becomes a class, 0 the background. Of DICOM Segmentations, structure
    sets and segmentations of 3D Slicer the names count and not the numbers, which differ from
    case to case: every structure named in any of them becomes a class.

    Raises:
        DataError: a ``labels.csv`` that cannot be read, names or values that are there twice,
            0 not the least value that counts, or more than 255 values.
    """
    declared = root / LABELS_FILE
    labelled = [case for case in cases if case.label is not None and case.label.exists()]
    objects = () if declared.is_file() else [case for case in labelled if object_kind(_path(case))]
    remarks: tuple[str, ...] = ()
    if declared.is_file():
        names = _declared(declared)
    elif objects:
        names = _structures(root, labelled, objects)
        remarks = (
            f"the structures {', '.join(list(names.values())[1:])} were found in {len(objects)} "
            f"segmentations; {LABELS_FILE} (value,name a line) chooses among them.",
        )
    else:
        looked_at = labelled[:: max(1, len(labelled) // _LOOKED_AT)][:_LOOKED_AT]
        values = sorted({0}.union(*(_values(case) for case in looked_at)))
        foreground = "foreground" if len(values) == 2 else "label_{}"
        names = {value: foreground.format(value) for value in values} | {0: "background"}
        if len(names) == 1:
            names[1] = "foreground"
        remarks = (
            f"label values {', '.join(map(str, values))} were found in {len(looked_at)} of "
            f"{len(labelled)} label maps; {LABELS_FILE} (value,name a line) declares them.",
        )
        if len(values) > 2 and values[-1] == IGNORED:
            remarks += (
                f"the value {IGNORED} is taken as a class; if its voxels are not to count, name it "
                f"{IGNORE_NAME} in {LABELS_FILE}.",
            )
    if len(names) > _MAX_LABELS:
        raise DataError(f"{root}: at most {_MAX_LABELS} label values; found {len(names)}.")
    classes, kept = classes_of(names)
    twice = next((name for name in kept if kept.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{root}: two label values are called {twice}. Give each its own name.")
    least = min((value for value in names if classes[value] != IGNORED), default=None)
    if least != 0:
        raise DataError(
            f"{root}: the least label value that counts must be 0, the background; it is {least}. "
            f"Name it {IGNORE_NAME} in {LABELS_FILE} if it is not to count, or store it otherwise."
        )
    return classes, kept, remarks


def _structures(root: Path, labelled: Sequence[Case], objects: Sequence[Case]) -> dict[int, str]:
    if len(objects) != len(labelled):
        raise DataError(
            f"{root}: {len(objects)} labels are segmentations with names and "
            f"{len(labelled) - len(objects)} are label maps with values. Say in {LABELS_FILE} "
            "(value,name a line) which value each name has."
        )
    found: dict[str, str] = {}
    for case in objects:
        for name in structure_names(_path(case)):
            found.setdefault(name.strip().casefold(), name.strip())
    return dict(enumerate(["background", *(found[key] for key in sorted(found) if key)]))


def _path(case: Case) -> Path:
    return Path(str(case.label))


def _values(case: Case) -> set[int]:
    path = _path(case)
    stored = np.unique(one_channel(read_volume(path, labels=True), path))
    broken = stored[~np.isfinite(stored) | (stored != np.rint(stored))]
    if len(broken):
        raise DataError(
            f"{path}: the values of a label map must be whole numbers; {len(broken)} of its "
            f"{len(stored)} values are not, e.g. {shown(broken[0])}. Is it the image, or "
            "resampled with interpolation?"
        )
    if len(stored) > _MAX_LABELS:
        raise DataError(
            f"{path}: a label map holds at most {_MAX_LABELS} values; it has {len(stored)} from "
            f"{shown(stored[0])} to {shown(stored[-1])}. Is it the image?"
        )
    return {int(value) for value in stored}


def _declared(path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for row in read_table(path, ("value", "name")):
        try:
            value = int(row["value"])
        except ValueError:
            raise DataError(
                f"{path}: a label value must be an integer; got {row['value']!r}."
            ) from None
        if value in names:
            raise DataError(f"{path}: the value {value} is there twice. Remove one.")
        if not row["name"]:
            raise DataError(f"{path}: the value {value} has no name. Give it one.")
        names[value] = row["name"]
    if 0 not in names:
        raise DataError(f"{path}: the value 0, the background, must be declared.")
    return dict(sorted(names.items()))


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file with a heading; commas, semicolons or tabs part the columns.

    Returns:
        For every line with content: column -> cell without blanks around it. Columns are
        named as in ``columns``, others in lower case.

    Raises:
        DataError: unreadable, a column is missing or there twice, or a line has more cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            heading = file.readline()
            if "\0" in heading:  # UTF-16 without a mark: UTF-8 takes each of its bytes
                raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "NUL")
            file.seek(0)
            # Spreadsheets write what their country writes between the columns.
            between = max(",;\t", key=heading.count)
            reader = csv.reader(file, delimiter=between, skipinitialspace=True, strict=True)
            lines = [[cell.strip() for cell in line] for line in reader]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: must be text in UTF-8; it is in {_encoding(path)}. Save it as CSV UTF-8."
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}).") from error
    found = [name.casefold() for name in lines[0]] if lines else []
    twice = sorted({name for name in found if name and found.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the column {twice[0]} is there twice. Remove one.")
    names = {name.casefold(): name for name in columns}
    keys = [names.get(name, name) for name in found]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if any(line[len(found) :]):
            raise DataError(
                f"{path}, line {number}: {len(line)} cells for {len(found)} columns. Put cells "
                "that contain the separator in double quotes."
            )
        if any(line):
            rows.append(dict(zip_longest(keys, line[: len(found)], fillvalue="")))
    missing = [name for name in columns if name.casefold() not in found]
    if missing:
        raise DataError(
            f"{path}: needs the columns {', '.join(columns)}; got {', '.join(found) or 'none'}."
        )
    return rows


def _encoding(path: Path) -> str:
    """Return what a table that is no UTF-8 is written in, as far as its first bytes tell."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        return "UTF-16"
    return "an encoding of single bytes, such as Latin-1 or Windows-1252"


def channel_names(case: Case, read: Callable[[Case], Volume]) -> tuple[str, ...]:
    """Return a name for each channel of a case's image: R, G, B for colours."""
    count = read(case).channels
    if count == 3 and not case.channels:
        return ("R", "G", "B")
    return ("image",) if count == 1 else tuple(f"channel_{index}" for index in range(count))


def rank_of(cases: Sequence[Case]) -> tuple[int, tuple[str, ...]]:
    """Return 2 where every image is one slice, else 3, and a remark where they differ.

    Pictures are known by their suffix. Other images are read until one has several slices:
    those of one slice, which are read in vain, are small.
    """
    there = [case for case in cases if case.image.exists()]
    thin = []
    for case in there:
        if is_picture(case.image):
            thin.append(case)
            continue
        try:
            if read_volume(case.image).shape[0] > 1:
                break
        except DataError:
            continue  # the check of the case says why
        thin.append(case)
    else:
        return 2 if thin else 3, ()
    if not thin:
        return 3, ()
    named = ", ".join(case.id for case in thin[:3]) + (", ..." if len(thin) > 3 else "")
    return 3, (f"{named}: one slice; others have more, so the data set is taken as 3D.",)
