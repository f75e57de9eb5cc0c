"""Whether label maps hold classes 0, 1, 2, ... or the values of the data set's own label files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tfseg.datasets import Dataset
from tfseg.datasets.base import IGNORED
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.references import object_kind
from tfseg.volume import Volume


def table_for(folder: Path, files: Iterable[Path], dataset: Dataset) -> Mapping[int, int]:
    """Return value -> class for the label maps of a folder; empty where they hold classes.

    Files are read only where a data set stores other values than its classes. All of a folder's
    files count together, as one of them alone may hold too few values to tell.

    Raises:
        DataError: the values fit both ways or neither, and mean different classes.
    """
    stored = {value: known for value, known in dataset.stored.items() if known != IGNORED}
    if all(value == known for value, known in stored.items()):
        return {}
    found: set[float] = set()
    for path in files:
        if not object_kind(path):  # which have names
            try:
                found.update(np.unique(read_volume(path, labels=True).array).tolist())
            except DataError:
                continue  # whoever measures the case says why
    as_classes = found <= {*range(len(dataset.labels))}
    as_stored = found <= {*stored}
    doubtful = any(stored.get(int(one), one) != one < len(dataset.labels) for one in found)
    if as_classes == as_stored and doubtful:
        values = ", ".join(f"{value:g}" for value in sorted(found))
        raise DataError(
            f"{folder}: the values {values} of the label maps may be the data set's own or the "
            f"classes 0 to {len(dataset.labels) - 1}, which differ: {dataset.root} stores "
            f"{_told(stored)}. Save them as .seg.nrrd, whose segments have names, or add a label "
            "map that has all classes."
        )
    return stored if as_stored and not as_classes else {}


def remark_of(table: Mapping[int, int]) -> str:
    """Return what is said where values are taken as the data set's own."""
    return f"the label maps hold the data set's own values, taken as classes: {_told(table)}"


def to_classes(labels: Volume, table: Mapping[int, int]) -> Volume:
    """Return a label map of stored values, all of them in the table, as classes."""
    classes = np.zeros(labels.array.shape, np.uint8)
    for value, known in table.items():
        classes[labels.array == value] = known
    return labels.with_array(classes)


def _told(table: Mapping[int, int]) -> str:
    return ", ".join(f"{value} for class {known}" for value, known in sorted(table.items()))
