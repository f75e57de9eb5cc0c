"""Read every case of a data set once and say what is wrong, before training finds out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.datasets.base import Case, Dataset
from tfseg.datasets.twice import twice
from tfseg.errors import DataError
from tfseg.geometry import farthest_apart, orientation_code
from tfseg.io import read_volume, volume_suffix, write_volume
from tfseg.io.references import object_kind
from tfseg.io.suffixes import WRITTEN_VOLUMES
from tfseg.volume import Volume

Progress = Callable[[Sequence[Case]], Iterable[Case]]

_ROUNDED = 0.1  # of a voxel: what lies farther apart is not a rounded header


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a case from being used; the message holds the remedy.

    Attributes:
        case: its id.
        kind: ``missing``, ``image``, ``constant``, ``label``, ``grid``, ``rounding`` (a grid
            that a header has rounded), ``foreground``, ``mask`` or ``duplicate``.
        message: one line.
    """

    case: str
    kind: str
    message: str


@dataclass
class _Facts:
    """What the readable cases have shown."""

    shapes: list[tuple[int, int, int]] = field(default_factory=list)
    spacings: list[tuple[float, float, float]] = field(default_factory=list)
    intensities: list[list[tuple[float, float, float]]] = field(default_factory=list)
    orientations: dict[str, list[str]] = field(default_factory=dict)
    label_voxels: list[list[int]] = field(default_factory=list)
    label_ml: list[list[float]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    drawn: dict[bytes, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    Attributes:
        problems: in the order of the cases; empty when all can be used.
        summary: JSON-ready: counts, shapes (z, y, x), spacings (mm), intensities, labels.
        fixed: ids of the cases whose label's header was corrected.
    """

    problems: tuple[Problem, ...]
    summary: dict[str, Any]
    fixed: tuple[str, ...] = ()


def check_dataset(dataset: Dataset, progress: Progress = iter, *, fix: bool = False) -> Report:
    """Read every image, label and mask, one case at a time.

    Args:
        dataset: the opened data set.
        progress: wraps the sequence of cases, to show how far the work is.
        fix: give a label whose grid differs by rounding only its image's affine; the file is
            replaced atomically, its voxels stay.
    """
    problems: list[Problem] = []
    fixed: list[str] = []
    facts = _Facts()
    seen: dict[bytes, Case] = {}
    for case in progress(dataset.cases):
        for kind, found in _check_case(dataset, case, facts, seen):
            if fix and kind == "rounding":
                _give_affine(dataset, case)
                fixed.append(case.id)
            else:
                problems.append(Problem(case.id, kind, found))
    if facts.empty and len(facts.empty) == len(facts.label_voxels):
        message = (
            f"none of {len(facts.empty)} label maps has any foreground. Draw what is to be found."
        )
        problems.append(Problem(facts.empty[0], "foreground", message))
    return Report(tuple(problems), _summary(dataset, facts), tuple(fixed))


def _give_affine(dataset: Dataset, case: Case) -> None:
    image = dataset.read_image(case)
    for path, _ in _rounded(case, image):
        label = read_volume(path, labels=True)
        write_volume(replace(label, affine=image.affine, forms=image.forms), path)


def _rounded(case: Case, image: Volume) -> list[tuple[Path, float]]:
    """Return the label files whose grid is but for rounding the image's, and how far off in mm.

    Empty where one of the case's labels is on another grid, or of a format that is not written.
    """
    found = []
    for path in (case.label, *case.parts):
        if path is None or volume_suffix(path) not in WRITTEN_VOLUMES or object_kind(path):
            return []
        try:
            label = read_volume(path, labels=True)
        except DataError:
            return []  # the check of the label says why
        apart = farthest_apart(image.affine, label.affine, image.shape)
        if label.shape != image.shape or apart > _ROUNDED * min(image.spacing_mm):
            return []
        if not image.same_grid(label):
            found.append((path, apart))
    return found


def _check_case(
    dataset: Dataset, case: Case, facts: _Facts, seen: dict[bytes, Case]
) -> list[tuple[str, str]]:
    """Return (kind, message) of each problem of a case."""
    found = [
        ("missing", f"{path}: the file is missing. Restore it or remove the case.")
        for path in case.files
        if not path.exists()
    ]
    if case.split == "train" and case.label is None:
        message = (
            f"case {case.id}: a training case needs a label; {case.image.name} has none. Add it or "
            "remove the image."
        )
        found.append(("missing", message))
    if found:
        return found
    image = label = None
    try:
        image = dataset.load_image(case)
    except DataError as error:
        found.append(("image", str(error)))
    if case.label is not None:
        try:
            label = dataset.read_label(case)
        except DataError as error:
            problem = ("label", str(error))
            if image is not None and case.parts:  # which are compared as they are read
                problem = _grid_problem(case, image, *problem)
            found.append(problem)
    if case.mask is not None and dataset.read_mask is not None:
        try:
            mask = dataset.read_mask(case)
            if image is not None:
                dataset.check_grid(case, image, mask, "mask")
        except DataError as error:
            found.append(("mask", str(error)))
    if image is not None:
        _note_image(image, facts)
        facts.orientations.setdefault(orientation_code(image.affine), []).append(case.id)
        voxels = image.channel_last().reshape(-1, image.channels)
        low, high = voxels.min(axis=0), voxels.max(axis=0)
        for channel in np.flatnonzero(low == high):
            message = (
                f"case {case.id}: every voxel of channel {dataset.modalities[channel]} is "
                f"{low[channel]:g}. Replace the image or remove the case."
            )
            found.append(("constant", message))
        digest = _content(image)
        first = seen.setdefault(digest, case)
        if first is not case:
            parts = (
                "" if first.split == case.split else ", which is in the other part (test, train)"
            )
            message = (
                f"case {case.id}: its voxels are those of case {first.id}{parts}. Remove one of "
                "them."
            )
            found.append(("duplicate", message))
    if label is not None:
        _note_label(label, len(dataset.labels), facts)
        if not dataset.foreground(label).any():
            facts.empty.append(case.id)
        elif not any(kind == "duplicate" for kind, _ in found):
            facts.drawn.setdefault(_content(label), []).append(case.id)
    if image is not None and label is not None:
        try:
            dataset.check_grid(case, image, label)
        except DataError as error:
            found.append(_grid_problem(case, image, "grid", str(error)))
    return found


def _content(image: Volume) -> bytes:
    """Return a digest of shape and values, whatever type a copy is stored in."""
    digest = hashlib.blake2b(str(image.channel_last().shape).encode())
    digest.update(np.ascontiguousarray(image.array, np.float32).data)
    return digest.digest()


def _grid_problem(case: Case, image: Volume, kind: str, message: str) -> tuple[str, str]:
    """Tell a header that was rounded, which --fix can correct, from another grid."""
    rounded = _rounded(case, image)
    if not rounded:
        return kind, message
    named = ", ".join(path.name for path, _ in rounded)
    apart = max(apart for _, apart in rounded)
    return "rounding", (
        f"case {case.id}: {named} and the image lie {apart:.3g} mm apart, a part of a voxel, as "
        "headers do that were rounded. `tfseg check --fix` gives the label the image's."
    )


def _note_image(image: Volume, facts: _Facts) -> None:
    facts.shapes.append(image.shape)
    facts.spacings.append(image.spacing_mm)
    channels = np.moveaxis(image.channel_last(), -1, 0)
    facts.intensities.append(
        [
            (float(channel.min()), float(channel.mean(dtype=np.float64)), float(channel.max()))
            for channel in channels
        ]
    )


def _note_label(label: Volume, classes: int, facts: _Facts) -> None:
    counts = np.bincount(label.array.ravel(), minlength=classes)[:classes]  # but for ignored ones
    facts.label_voxels.append(counts.tolist())
    facts.label_ml.append((counts * np.prod(label.spacing_mm) / 1000).tolist())


def _summary(dataset: Dataset, facts: _Facts) -> dict[str, Any]:
    voxels = np.array(facts.label_voxels).reshape(-1, len(dataset.labels))
    millilitres = np.array(facts.label_ml).reshape(-1, len(dataset.labels))
    return {
        "name": dataset.name,
        "adapter": dataset.adapter,
        "dims": dataset.dims,
        "cases": {
            "training": sum(case.split == "train" for case in dataset.cases),
            "labelled": len(dataset.labelled),
            "test": sum(case.split == "test" for case in dataset.cases),
            "readable": len(facts.shapes),
        },
        "shape": _spread(facts.shapes),
        "spacing_mm": _spread(facts.spacings),
        "intensity": [
            {
                "channel": name,
                "min": min(case[index][0] for case in facts.intensities),
                "mean": float(np.mean([case[index][1] for case in facts.intensities])),
                "max": max(case[index][2] for case in facts.intensities),
            }
            for index, name in enumerate(dataset.modalities)
            if facts.intensities
        ],
        "labels": [
            {
                "value": value,
                "name": name,
                "cases": int((voxels[:, value] > 0).sum()),
                "share": float(voxels[:, value].sum() / voxels.sum()) if voxels.sum() else 0.0,
                "mean_voxels": float(voxels[:, value].mean()) if len(voxels) else 0.0,
                "mean_ml": float(millilitres[:, value].mean()) if len(voxels) else 0.0,
            }
            for value, name in enumerate(dataset.labels)
        ],
        "remarks": [
            *dataset.remarks,
            *_empty_remarks(facts),
            *_orientation_remarks(facts.orientations),
            *twice(dataset.cases),
            *_label_remarks(facts),
            *_stray_remarks(dataset),
        ],
    }


def _empty_remarks(facts: _Facts) -> list[str]:
    """Return one line on label maps without foreground: cases without a finding, or forgotten."""
    if not facts.empty:
        return []
    return [
        f"{len(facts.empty)} of {len(facts.label_voxels)} label maps have no foreground and count "
        f"as cases without a finding: {_few(facts.empty)}."
    ]


def _label_remarks(facts: _Facts) -> list[str]:
    """Return a line for each label map that is drawn alike in several cases."""
    return [
        f"{_few(cases)} have the same label map, voxel for voxel, and different images. Give each "
        "case its own."
        for cases in facts.drawn.values()
        if len(cases) > 1
    ]


def _few(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _orientation_remarks(orientations: dict[str, list[str]]) -> list[str]:
    """Return one line where the axes of a set's cases run in different directions."""
    if len(orientations) < 2:
        return []
    most = max(orientations, key=lambda code: len(orientations[code]))
    others = [case for code, cases in orientations.items() if code != most for case in cases]
    named = _few(others)
    return [
        f"axes (z, y, x) run {most} in most cases and otherwise in {named}; training and "
        "prediction turn them all alike."
    ]


def _stray_remarks(dataset: Dataset) -> list[str]:
    """Return one line on images and label maps that belong to no case, if there are any.

    Layouts hold files that are not for training: a second observer's labels, other structures.
    But the label of a lost image, or the image of a lost label, is found here too.
    """
    used = {path for case in dataset.cases for path in case.files}
    strays = []
    for folder, below, names in os.walk(dataset.root):
        place = Path(folder)
        below[:] = sorted(name for name in below if place / name not in used)  # DICOM series
        strays += [
            place / name
            for name in sorted(names)
            if volume_suffix(name) and not name.startswith(".") and place / name not in used
        ]
    if not strays:
        return []
    named = ", ".join(str(path.relative_to(dataset.root)) for path in strays[:3])
    more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
    return [f"files that no case uses: {named}{more}."]


def _spread(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """Return least, median and greatest along each axis (z, y, x)."""
    if not rows:
        return {}
    table = np.array(rows)
    return {
        "min": table.min(axis=0).tolist(),
        "median": np.median(table, axis=0).tolist(),
        "max": table.max(axis=0).tolist(),
    }
