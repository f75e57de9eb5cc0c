"""How the layouts keep images and labels, and one reader for each way.

An image is one file, or one file a channel. A reference is a label map with values of its own, or
one mask a structure. Adapters give these functions the tables; the checks are made here.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.datasets.base import Case, Dataset, apart
from tfseg.errors import DataError
from tfseg.io import read_volume, volume_stem, volume_suffix
from tfseg.io.references import SEGMENTS, object_kind, read_structures
from tfseg.io.segments import segments
from tfseg.volume import Volume

_log = logging.getLogger(__name__)

_LONGEST_NAME = 255  # bytes, on nearly all disks


def find(root: Path, pattern: str, *, least: int = 0, what: str = "files") -> list[Path]:
    """Return what matches a glob pattern below ``root``, sorted; resource forks are left out.

    Capitals and small letters of the suffix that tells the format are alike.

    Raises:
        DataError: fewer than ``least`` matches.
    """
    # macOS leaves files named ._x.nii.gz beside x.nii.gz on disks that it does not own.
    suffix = volume_suffix(pattern)
    either = "".join(f"[{mark}{mark.upper()}]" if mark.isalpha() else mark for mark in suffix)
    matches = root.glob(pattern[: len(pattern) - len(suffix)] + either)
    found = sorted(path for path in matches if not path.name.startswith("._"))
    if len(found) < least:
        raise DataError(f"{root}: needs {what} like {pattern}; found {len(found)}.")
    return found


def present(path: Path) -> Path:
    """Return a listed file as it is spelled on disk, or ``path`` where there is none like it.

    The same letters may be composed or decomposed (macOS), and suffixes in capitals.

    Raises:
        DataError: a name longer than disks take.
    """
    if max(len(os.fsencode(part)) for part in path.parts) > _LONGEST_NAME:
        raise DataError(f"file names have at most {_LONGEST_NAME} bytes; got {str(path)!r:.80}.")
    if path.exists() or not path.parent.is_dir():
        return path
    alike = [other for other in path.parent.iterdir() if _spelling(other) == _spelling(path)]
    return alike[0] if len(alike) == 1 else path


def _spelling(path: Path) -> tuple[str, str]:
    return normalised(volume_stem(path)), volume_suffix(path)


def normalised(name: str) -> str:
    """Return a name with its letters composed (Unicode's form NFC)."""
    return unicodedata.normalize("NFC", name)


def check_ids(root: Path, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases after making sure that no id is used twice.

    Raises:
        DataError: one is, or there is no training case.
    """
    if not any(case.split == "train" for case in cases):
        raise DataError(f"{root}: the data set has no training case. Check that it is complete.")
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.id, case)
        if other is not case:
            raise DataError(
                f"{root}: two cases are called {case.id}: {other.image} and {case.image}. "
                "Remove one of them."
            )
    return tuple(cases)


def colour_pictures(
    root: Path,
    adapter: str,
    name: str,
    structures: tuple[str, ...],
    cases: Sequence[Case],
    read_label: Callable[[Case], Volume],
) -> Dataset:
    """Return a data set of colour pictures in which ``structures`` are labelled 1, 2, ..."""
    return Dataset(
        name=name,
        adapter=adapter,
        root=root,
        dims=2,
        modalities=("R", "G", "B"),
        labels=("background", *structures),
        cases=check_ids(root, cases),
        read_image=read_picture,
        read_label=read_label,
    )


def read_image(case: Case) -> Volume:
    """Read a volume, its channels stacked where they are in files of their own.

    Raises:
        DataError: unreadable, or channels on different grids.
    """
    first = read_volume(case.image, allow_2d=False)
    return stacked(case, first, [read_volume(path, allow_2d=False) for path in case.channels])


def read_picture(case: Case) -> Volume:
    """Read a 2D picture."""
    return read_volume(case.image)


def read_gray(case: Case) -> Volume:
    """Read a 2D picture as gray: of colours, the mean."""
    picture = read_volume(case.image)
    if picture.channels == 1:
        return picture
    return picture.with_array(picture.array.mean(axis=-1, dtype=np.float32))


def stacked(case: Case, first: Volume, others: Sequence[Volume]) -> Volume:
    """Return volumes of one grid as the channels of one.

    Raises:
        DataError: a grid that differs from the first one's.
    """
    if not others:
        return first
    for path, other in zip(case.channels, others, strict=True):
        if not first.same_grid(other):
            raise DataError(
                f"{path}: the channels of a case must lie on one grid; {case.image.name} is "
                f"{first.shape}, this one {other.shape}{apart(first, other)}. Resample it."
            )
    arrays = [volume.channel_last() for volume in (first, *others)]
    return first.with_array(np.concatenate(arrays, axis=-1))


def label_path(case: Case) -> Path:
    """Return the case's first reference file.

    Raises:
        DataError: it has none.
    """
    if case.label is None:
        raise DataError(f"case {case.id}: the data set holds no reference segmentation for it.")
    return case.label


def read_values(
    case: Case, classes: Mapping[int, int], *, allow_2d: bool = False, names: Sequence[str] = ()
) -> Volume:
    """Read a label map whose stored values stand for classes.

    A DICOM Segmentation or structure set, or a segmentation of 3D Slicer, is drawn onto the
    case's image instead, its structures matched by name. Where 3D Slicer's are named otherwise,
    as it does by itself (Segment_1), the values count, and that is said.

    Args:
        case: with a label.
        classes: stored value -> class.
        allow_2d: whether it may be a picture.
        names: of the classes, the background first; without them DICOM objects are refused.

    Raises:
        DataError: unreadable, several channels, a value that is not in the table, or a DICOM
            object without any structure of these names.
    """
    path = label_path(case)
    if names and object_kind(path) and not _by_values(path, names):
        labels = read_structures(path, read_volume(case.image), names[1:], case.image)
        return labels.with_array(labels.array.astype(np.uint8))
    volume = read_volume(path, allow_2d=allow_2d, labels=True)
    return volume.with_array(to_classes(one_channel(volume, path), classes, path))


def _by_values(path: Path, names: Sequence[str]) -> bool:
    """Tell whether the values of a segmentation of 3D Slicer count, for want of a known name."""
    if object_kind(path) != SEGMENTS:
        return False
    found = segments(path)
    known = {name.strip().casefold() for name in names[1:]}
    named = known.intersection(segment.name.casefold() for segment in found)
    if named or len({segment.layer for segment in found}) > 1:
        return False
    _log.warning(
        "%s: its segments are named %s, none as the labels are (%s); their values count.",
        path, ", ".join(segment.name for segment in found), ", ".join(names[1:]),
    )  # fmt: skip
    return True


def one_channel(volume: Volume, path: Path) -> NDArray[Any]:
    """Return the voxels (z, y, x) of a volume that must have one channel.

    Raises:
        DataError: it has several.
    """
    if volume.channels != 1:
        raise DataError(f"{path}: a label map has 1 channel; got {volume.channels}.")
    return volume.channel_last()[..., 0]


def to_classes(stored: NDArray[Any], classes: Mapping[int, int], path: Path) -> NDArray[np.uint8]:
    """Return stored label values as classes.

    Raises:
        DataError: a value that is not in the table; the first such is named.
    """
    values = np.array(sorted(classes))
    # Labels may be stored as float or scaled: a float must be integral to be a label.
    index = np.searchsorted(values, stored).clip(0, len(values) - 1)
    wrong = values[index] != stored
    if wrong.any():
        known = ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
        raise DataError(
            f"{path}: label values must be among {known}; it has {shown(stored[wrong][0])} in "
            f"{int(wrong.sum())} voxels. Correct the label map or declare the value."
        )
    return np.array([classes[int(value)] for value in values], np.uint8)[index]


def shown(value: np.generic) -> str:
    """Return a stored number in full: 3, but 1.0000153."""
    number = value.item()
    return str(int(number)) if np.isfinite(number) and number == int(number) else str(value)


def read_objects(case: Case) -> Volume:
    """Read a map of numbered objects: every one of them is class 1.

    Raises:
        DataError: unreadable, or several channels.
    """
    path = label_path(case)
    volume = read_volume(path, labels=True)
    return volume.with_array((one_channel(volume, path) > 0).astype(np.uint8))


def read_picture_masks(case: Case) -> Volume:
    """Read masks as :func:`read_masks`, from pictures."""
    return read_masks(case, allow_2d=True)


def read_masks(case: Case, *, allow_2d: bool = False) -> Volume:
    """Read one mask a structure; ``label`` is class 1, ``parts`` are the classes after it.

    Where masks overlap, the later one is kept: layouts list what lies inside last.

    Raises:
        DataError: unreadable, on different grids, or a file with more than two values.
    """
    paths = (label_path(case), *case.parts)
    first = read_volume(paths[0], allow_2d=allow_2d, labels=True)
    classes = binary(one_channel(first, paths[0]), paths[0]).astype(np.uint8)
    for value, path in enumerate(paths[1:], start=2):
        volume = read_volume(path, allow_2d=allow_2d, labels=True)
        if not first.same_grid(volume):
            raise DataError(
                f"{path}: masks of one case must lie on one grid; {paths[0].name} is "
                f"{first.shape}, this one {volume.shape}{apart(first, volume)}. Resample it."
            )
        classes[binary(one_channel(volume, path), path)] = value
    return first.with_array(classes)


def binary(stored: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    """Return a stored mask, 0 and one other value, as bool.

    Raises:
        DataError: it has more than two values.
    """
    high = stored.max()
    wrong = (stored != 0) & (stored != high)
    if wrong.any():
        raise DataError(
            f"{path}: a mask holds 0 and one other value; {int(wrong.sum())} voxels have more, "
            f"e.g. {shown(stored[wrong][0])} beside {shown(high)}. Threshold it."
        )
    result: NDArray[np.bool_] = stored != 0
    return result
