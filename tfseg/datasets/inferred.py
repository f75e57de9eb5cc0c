"""What a plain folder does not say, learned from its files: channels and label values."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tfseg.datasets.base import Case
from tfseg.datasets.reading import one_channel
from tfseg.errors import DataError
from tfseg.io import read_volume
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
        DataError: a ``labels.csv`` that cannot be read, no 0 in it, or more than 255 values.
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
    if len(names) > _MAX_LABELS:
        raise DataError(f"{root}: at most {_MAX_LABELS} label values; found {len(names)}.")
    return {value: index for index, value in enumerate(names)}, tuple(names.values()), remarks


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
    if len(stored) > _MAX_LABELS or not np.equal(np.mod(stored, 1), 0).all():
        raise DataError(
            f"{path}: a label map holds at most {_MAX_LABELS} integral values; it has "
            f"{len(stored)} from {stored[0]:g} to {stored[-1]:g}. Is it the image?"
        )
    return {int(value) for value in stored}


def _declared(path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for row in read_table(path, ("value", "name")):
        try:
            names[int(row["value"])] = row["name"].strip()
        except ValueError:
            raise DataError(
                f"{path}: a label value must be an integer; got {row['value']!r}."
            ) from None
    if 0 not in names:
        raise DataError(f"{path}: the value 0, the background, must be declared.")
    return dict(sorted(names.items()))


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file with a heading.

    Raises:
        DataError: unreadable, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
            found = [name.strip() for name in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}).") from error
    missing = [name for name in columns if name not in found]
    if missing:
        raise DataError(
            f"{path}: needs the columns {', '.join(columns)}; got {', '.join(found) or 'none'}."
        )
    return rows


def channel_names(case: Case, read: Callable[[Case], Volume]) -> tuple[str, ...]:
    """Return a name for each channel of a case's image: R, G, B for colours."""
    count = read(case).channels
    if count == 3 and not case.channels:
        return ("R", "G", "B")
    return ("image",) if count == 1 else tuple(f"channel_{index}" for index in range(count))
