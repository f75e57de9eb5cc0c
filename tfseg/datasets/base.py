"""What a data set is to the rest of tfseg: cases, labels, and a way to load them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError, DataError
from tfseg.files import not_a_file_name
from tfseg.geometry import farthest_apart, same_grid
from tfseg.volume import Volume

IGNORED = 255  # in label maps: a voxel of which nothing is known, so that it does not count
_FEWEST = 2  # patients that folds need
IGNORE_NAME = "ignore"  # how descriptions of data sets call it, as nnU-Net's do


def classes_of(named: Mapping[int, str]) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return stored value -> class, in the order of the values, and the classes' names.

    The value named ``ignore`` is no class: it becomes :data:`IGNORED`.
    """
    ordered = dict(sorted(named.items()))
    kept = [value for value, name in ordered.items() if name.casefold() != IGNORE_NAME]
    classes = dict.fromkeys(ordered, IGNORED) | {value: n for n, value in enumerate(kept)}
    return classes, tuple(ordered[value] for value in kept)


def ignored_value(classes: Mapping[int, int]) -> int | None:
    """Return the stored value that does not count, or ``None``."""
    return next((value for value, index in classes.items() if index == IGNORED), None)


@dataclass(frozen=True)
class Case:
    """One study: where its files are.

    Attributes:
        id: unique in the data set; a file-name stem, e.g. ``hippocampus_001``. Results,
            pictures and predictions are named after it, so nothing else is accepted.
        image: the image file or DICOM folder.
        label: the reference label map, or ``None`` where there is none.
        mask: region in which results count (a field of view), or ``None`` for everywhere.
        split: ``train`` or ``test``, as the publisher split them.
        channels: further image files, where each file holds a channel; the first is ``image``.
        parts: further reference files, where each holds one structure; the first is ``label``.
        group: the patient, where one has several cases: a split never parts them.
        fold: the publisher's fold of cross-validation, counted from 0, where there is one.
    """

    id: str
    image: Path
    label: Path | None = None
    mask: Path | None = None
    split: str = "train"
    channels: tuple[Path, ...] = ()
    parts: tuple[Path, ...] = ()
    group: str = ""
    fold: int | None = None

    def __post_init__(self) -> None:
        problem = not_a_file_name(self.id)
        if problem:
            raise DataError(
                f"the id of a case must be usable as a file name; {self.id!r:.80} {problem}. "
                "Rename the case."
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file or folder that the case is made of."""
        named = (self.image, *self.channels, self.label, *self.parts, self.mask)
        return tuple(path for path in named if path is not None)


@dataclass(frozen=True)
class Dataset:
    """A recognised data set.

    Attributes:
        name: the data set's own name, e.g. ``Hippocampus``.
        adapter: which adapter opened it, e.g. ``msd``.
        root: its folder.
        dims: 3 for volumes, 2 for single images.
        modalities: one code a channel: ``CT``, ``MR``, ``RGB``... as the publisher names them.
        labels: names of the values 0..k-1, background first.
        cases: in publisher's order, train before test.
        folds: number of cross-validation folds by default.
        remarks: what the data set's own description gets wrong without making it unusable.
        ignored: the stored value of voxels that do not count, in training and in evaluation;
            ``None`` where there are none. They are :data:`IGNORED` in the labels.
        stored: value in the label files -> class, where the files hold one map of such values.
        read_image, read_label, read_mask: load a case's file; labels come as uint8 0..k-1,
            masks as bool. Injected by the adapter because layouts encode them differently.
    """

    name: str
    adapter: str
    root: Path
    dims: int
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[Case, ...]
    read_image: Callable[[Case], Volume] = field(repr=False)
    read_label: Callable[[Case], Volume] = field(repr=False)
    read_mask: Callable[[Case], Volume] | None = field(default=None, repr=False)
    folds: int = 5
    ignored: int | None = None
    remarks: tuple[str, ...] = ()
    stored: Mapping[int, int] = field(default_factory=dict, repr=False)

    @property
    def labelled(self) -> tuple[Case, ...]:
        """The training cases that have a reference label map."""
        return tuple(case for case in self.cases if case.split == "train" and case.label)

    def load(self, case: Case) -> tuple[Volume, Volume]:
        """Return image and label of a case after checking that they belong together.

        Raises:
            DataError: unreadable, different grids, wrong channel count, or label values that
                the data set does not declare. The message names the case and the remedy.
        """
        image, label = self.load_image(case), self.read_label(case)
        self.check_grid(case, image, label)
        return image, label

    def load_image(self, case: Case) -> Volume:
        """Return the image of a case after checking its channels and values.

        Raises:
            DataError: unreadable, wrong channel count, voxels that are no intensity.
        """
        image = self.read_image(case)
        if image.channels != len(self.modalities):
            raise DataError(
                f"{case.image}: the data set declares {len(self.modalities)} channels "
                f"({', '.join(self.modalities)}); the image has {image.channels}."
            )
        image.check_values(f"{case.image}: the image")
        return image

    def foreground(self, label: Volume) -> NDArray[np.bool_]:
        """Return where a label map of this set has a class other than the background."""
        inside = label.array > 0
        return inside if self.ignored is None else inside & (label.array != IGNORED)

    def counted(self, label: Volume, mask: Volume | None) -> tuple[Volume, Volume | None]:
        """Return a label map without ignored voxels, and the region that counts without them."""
        if self.ignored is None:
            return label, mask
        ignored = label.array == IGNORED
        region = ~ignored if mask is None else (mask.channel_last()[..., 0] > 0) & ~ignored
        return label.with_array(np.where(ignored, 0, label.array).astype(np.uint8)), (
            label.with_array(region)
        )

    def check_grid(self, case: Case, image: Volume, other: Volume, what: str = "label") -> None:
        """Refuse a label or mask that does not lie on the image's grid.

        Raises:
            DataError: another shape, or voxels elsewhere.
        """
        if not image.same_grid(other):
            path = case.mask if what == "mask" else case.label
            for first, second, name in ((image, other, "image"), (other, image, what)):
                if _by_qform(first, second):
                    raise DataError(
                        f"case {case.id}: image and {what} lie on one grid by the qform of the "
                        f"{name}, but not by its sform, which is taken{apart(image, other)}. Find "
                        "out which of the two is right, and give both files that one."
                    )
            raise DataError(
                f"case {case.id}: image and {what} must lie on one grid; the image is "
                f"{image.shape} at {_mm(image)}, the {what} {other.shape} at {_mm(other)}"
                f"{apart(image, other)}. Resample {path.name if path else what} onto the image."
            )

    def split(self, fold: int | None, seed: int = 0) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
        """Return (training, validation) cases of one fold; ``None`` trains on all of them.

        The publisher's folds are kept where every case has one. Otherwise the folds are
        disjoint, cover every labelled case once, keep a patient's cases together, differ in
        size by one patient at most, and depend on the sorted ids and ``seed`` alone.

        Raises:
            ConfigError: no such fold, or fewer patients than folds.
        """
        cases = sorted(self.labelled, key=lambda case: case.id)
        if fold is None:
            return tuple(cases), ()
        published, folds = self._folds(cases, seed)
        if not 0 <= fold < folds:
            raise ConfigError(f"--fold must be 0 to {folds - 1} or all; got {fold}.")
        training = tuple(case for case in cases if published[case.id] != fold)
        held_out = tuple(case for case in cases if published[case.id] == fold)
        if not held_out or not training:
            raise ConfigError(
                f"--fold {fold} must hold out some cases and leave others to train on; of "
                f"{len(cases)} cases {len(held_out)} are in it. Take another fold."
            )
        return training, held_out

    def fold_count(self, seed: int = 0) -> int:
        """Return how many folds :meth:`split` knows; 0 where there are too few cases for any."""
        cases = sorted(self.labelled, key=lambda case: case.id)
        if len({case.group or case.id for case in cases}) < _FEWEST:
            return 0
        return self._folds(cases, seed)[1]

    def _folds(self, cases: list[Case], seed: int) -> tuple[dict[str, int], int]:
        """Return each case's fold and the number of folds."""
        if cases and all(case.fold is not None for case in cases):
            published = {case.id: int(case.fold or 0) for case in cases}
            return published, max(published.values()) + 1
        return self._drawn_folds(cases, seed)

    def _drawn_folds(self, cases: list[Case], seed: int) -> tuple[dict[str, int], int]:
        """Return each case's fold, drawn by patient, and the number of folds."""
        groups = sorted({case.group or case.id for case in cases})
        folds = min(self.folds, len(groups))
        if folds < _FEWEST:
            raise ConfigError(
                f"{self.root}: a fold needs at least 2 labelled cases; there are {len(groups)}. "
                "Use --fold all to train on every case."
            )
        order = np.random.default_rng(seed).permutation(len(groups))
        fold_of = {groups[index]: place % folds for place, index in enumerate(order)}
        return {case.id: fold_of[case.group or case.id] for case in cases}, folds


def apart(first: Volume, other: Volume) -> str:
    """Return ``, up to N mm apart`` for volumes of one shape, else an empty text."""
    if first.shape != other.shape:
        return ""
    return f", up to {farthest_apart(first.affine, other.affine, first.shape):.3g} mm apart"


def _by_qform(first: Volume, second: Volume) -> bool:
    """Tell whether the form of a NIfTI header that is not taken would place a volume right."""
    if first.forms is None or first.forms.other is None or first.shape != second.shape:
        return False
    return same_grid(first.forms.other, second.affine, first.shape)


def _mm(volume: Volume) -> str:
    return " x ".join(f"{size:.3g}" for size in volume.spacing_mm) + " mm"


@dataclass(frozen=True)
class Adapter:
    """A published folder layout that can be opened as a :class:`Dataset`.

    Attributes:
        name: short and unique, e.g. ``msd``.
        title: the layout's full name.
        layout: the files that make a folder this layout, for people and for error messages.
        dims: 3 for volumes, 2 for single images.
        reference: publication.
        licence: the terms that the publisher gives the data under.
        registration: whether the publisher asks who you are before giving the data.
        ids: the data sets of this layout by the names in the literature; at least ``name``.
        recognises: tells from the content of a folder whether it has the layout.
        open: opens the folder without reading any image; raises DataError naming what is wrong.
        example: writes a tiny data set of this layout, with as many training cases as said, into
            an empty folder; what it draws depends on the generator alone.
    """

    name: str
    title: str
    layout: str
    dims: int
    reference: str
    licence: str
    recognises: Callable[[Path], bool] = field(repr=False)
    open: Callable[[Path], Dataset] = field(repr=False)
    example: Callable[[Path, int, np.random.Generator], None] = field(repr=False)
    registration: bool = False
    ids: tuple[str, ...] = ()
