"""nnU-Net's raw format, version 2 (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).

``dataset.json`` with ``channel_names``, ``labels`` (name to value) and ``file_ending``;
``imagesTr/CASE_0000.nii.gz``, one file a channel; ``labelsTr/CASE.nii.gz``; ``imagesTs``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset, classes_of, ignored_value
from tfseg.datasets.inferred import rank_of
from tfseg.datasets.reading import check_ids, find, normalised, present, read_values, stacked
from tfseg.errors import DataError
from tfseg.files import read_json, write_json
from tfseg.io import is_picture, read_volume, volume_suffix
from tfseg.volume import Volume

_FILE = "dataset.json"


def recognises(root: Path) -> bool:
    """Tell whether ``dataset.json`` has a ``file_ending``, which the Decathlon's has not."""
    path = root / _FILE
    if not path.is_file():
        return False
    try:
        document = read_json(path, "the data set's description")
    except DataError:
        return False  # the Decathlon's adapter says what is wrong with it
    return isinstance(document, dict) and "file_ending" in document


def open_nnunet(root: Path) -> Dataset:
    """Open a folder ``Dataset001_Name`` of nnU-Net version 2.

    Raises:
        DataError: an entry of ``dataset.json`` that is missing or not valid; labels that are
            regions; a label without image, or a channel more than are declared.
    """
    source = root / _FILE
    document = read_json(source, "the data set's description")
    channels = _channels(document, source)
    values, labels = _labels(document, source)
    ending = document["file_ending"]
    if not isinstance(ending, str) or volume_suffix(f"x{ending}") != ending.lower():
        raise DataError(f"{source}: file_ending must be a readable format; got {ending!r}.")
    listed = document.get("dataset")
    cases = [] if listed is None else _listed(root, listed, len(channels))
    cases += [
        _case(root, name, len(channels), ending, split)
        for split, folder in (("train", "imagesTr"), ("test", "imagesTs"))
        if listed is None or split == "test"
        for name in _names(root / folder, ending)
    ]
    _refuse_surplus(root, {case.id for case in cases}, len(channels), ending, listed is not None)
    dims, thin = rank_of([case for case in cases if case.split == "train"])
    return Dataset(
        name=str(document.get("name") or re.sub(r"^Dataset\d+_", "", root.resolve().name)),
        adapter="nnunet",
        root=root,
        dims=dims,
        modalities=channels,
        labels=labels,
        cases=check_ids(root, cases),
        read_image=_read,
        read_label=lambda case: read_values(case, values, allow_2d=True),
        stored=values,
        ignored=ignored_value(values),
        remarks=(*_remarks(document, sum(case.split == "train" for case in cases)), *thin),
    )


def _channels(document: dict[str, Any], source: Path) -> tuple[str, ...]:
    declared = document.get("channel_names")
    rule = 'needs "channel_names", e.g. {"0": "CT"}'
    if not isinstance(declared, dict) or not declared:
        raise DataError(f"{source}: {rule}; got {declared!r:.80}.")
    try:
        return tuple(str(declared[str(index)]) for index in range(len(declared)))
    except KeyError as error:
        raise DataError(f"{source}: {rule}; the channel {error} is missing.") from None


def _labels(document: dict[str, Any], source: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return stored value -> class, and the classes' names."""
    declared = document.get("labels")
    rule = 'needs "labels", e.g. {"background": 0, "liver": 1}'
    if not isinstance(declared, dict):
        raise DataError(f"{source}: {rule}; got {declared!r:.80}.")
    regions = [name for name, value in declared.items() if isinstance(value, list)]
    if regions:
        raise DataError(
            f"{source}: {regions[0]!r} is a region of several labels, which cannot be trained "
            "here: list labels of one value each."
        )
    if not all(type(value) in {int, str} for value in declared.values()):
        raise DataError(f"{source}: {rule}; got {declared!r:.80}.")
    try:
        named = {int(value): str(name) for name, value in declared.items()}
    except ValueError:
        raise DataError(f"{source}: {rule}; got {declared!r:.80}.") from None
    if len(named) != len(declared):
        raise DataError(f"{source}: {rule}, each value once; got {declared!r:.80}.")
    classes, names = classes_of(named)
    if classes.get(0) != 0 or not 2 <= len(names) <= 254:
        raise DataError(f"{source}: {rule}, with a 0 and another label; got {declared!r:.80}.")
    return classes, names


def _names(folder: Path, ending: str) -> list[str]:
    first = f"_0000{ending}"
    return [path.name[: -len(first)] for path in find(folder, f"*{first}")]


def _listed(root: Path, listed: object, channels: int) -> list[Case]:
    """Return the training cases that ``dataset`` lists: id -> its images and its label."""
    rule = f'{root / _FILE}: "dataset" needs {{"CASE": {{"images": [FILE, ...], "label": FILE}}}}'
    if not isinstance(listed, dict):
        raise DataError(f"{rule}; got {listed!r:.80}.")
    cases = []
    for name, entry in listed.items():
        images, label = (
            (entry.get("images"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(images, list) or not all(type(one) is str for one in [*images, label]):
            raise DataError(f"{rule}; got {entry!r:.80} of {name}.")
        paths = [_inside(root, one) for one in images]
        whole = len(paths) == 1 and is_picture(paths[0])
        if len(paths) != channels and not whole:
            raise DataError(
                f"{root / _FILE}: channel_names declares {channels} channels; {name} has "
                f"{len(paths)} images."
            )
        cases.append(Case(name, paths[0], _inside(root, str(label)), channels=tuple(paths[1:])))
    return cases


def _inside(root: Path, name: str) -> Path:
    relative = Path(os.path.normpath(name))
    if not name or relative.is_absolute() or relative.parts[:1] == ("..",):
        raise DataError(
            f"{root / _FILE}: the files of a case must be in the data set's folder, named from "
            f"there; got {name!r:.80}."
        )
    return present(root / relative)


def _refuse_surplus(root: Path, ids: set[str], channels: int, ending: str, listed: bool) -> None:
    """Refuse labels without an image, and channels that are not declared."""
    for path in () if listed else find(root / "labelsTr", f"*{ending}"):
        name = normalised(path.name[: -len(ending)])
        if name not in {normalised(one) for one in ids}:
            raise DataError(
                f"{path}: there is no image imagesTr/{name}_0000{ending} of this label. Restore "
                "it, or remove the label."
            )
    for folder in ("imagesTs",) if listed else ("imagesTr", "imagesTs"):
        for path in find(root / folder, f"*{ending}"):
            matched = re.fullmatch(r"(.+)_(\d{4})", path.name[: -len(ending)], re.ASCII)
            if matched and matched[1] in ids and int(matched[2]) >= channels:
                raise DataError(
                    f"{path}: channel_names declares {channels} channels, and this file is one "
                    "more. Declare it, or remove it."
                )


def _case(root: Path, name: str, channels: int, ending: str, split: str) -> Case:
    folder = root / ("imagesTr" if split == "train" else "imagesTs")
    paths = [present(folder / f"{name}_{index:04d}{ending}") for index in range(channels)]
    if is_picture(paths[0]) and not any(path.exists() for path in paths[1:]):
        paths = paths[:1]  # nnU-Net's reader of pictures takes all channels from one file
    label = present(root / "labelsTr" / f"{name}{ending}") if split == "train" else None
    return Case(name, paths[0], label, split=split, channels=tuple(paths[1:]))


def _read(case: Case) -> Volume:
    return stacked(case, read_volume(case.image), [read_volume(path) for path in case.channels])


def _remarks(document: dict[str, Any], training: int) -> tuple[str, ...]:
    declared = document.get("numTraining", training)
    if declared == training:
        return ()
    return (f"{_FILE}: numTraining says {declared}; {training} cases are there.",)


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write cases of two channels, and one test case."""
    for number in range(1, cases + 2):
        image, label = examples.draw(rng, 2)
        half = "Tr" if number <= cases else "Ts"
        for channel in range(2):
            array = ((channel + 1) * image).astype(np.int16)
            examples.save(array, root / f"images{half}/case_{number:03d}_{channel:04d}.nii.gz")
        if number <= cases:
            examples.save(label, root / f"labelsTr/case_{number:03d}.nii.gz")
    document = {
        "channel_names": {"0": "T2", "1": "ADC"},
        "labels": {"background": 0, "peripheral": 1, "transition": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    write_json(root / _FILE, document)


ADAPTERS = (
    Adapter(
        name="nnunet",
        title="nnU-Net raw data, version 2",
        layout="dataset.json with file_ending, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz",
        dims=3,
        reference="Isensee et al. 2021, doi:10.1038/s41592-020-01008-z",
        licence="of the data in it",
        recognises=recognises,
        open=open_nnunet,
        example=example,
    ),
)
