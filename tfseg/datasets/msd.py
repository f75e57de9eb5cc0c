"""Medical Segmentation Decathlon layout (Antonelli et al. 2022, arXiv:2106.05735).

``dataset.json`` lists the cases and drives everything; what else lies in the folders is ignored.
Many later data sets are published the same way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset, classes_of, ignored_value
from tfseg.datasets.reading import present, read_image, read_values
from tfseg.errors import DataError
from tfseg.files import read_json, write_json
from tfseg.io import volume_stem

_FILE = "dataset.json"
_MAX_LABELS = 255  # label maps are uint8


def recognises(root: Path) -> bool:
    """Tell whether the folder has a ``dataset.json``."""
    return (root / _FILE).is_file()


def open_msd(root: Path) -> Dataset:
    """Open a folder in the Decathlon layout.

    Label values become 0..k-1 in ascending order of the declared ones (which they are already
    in the Decathlon itself).

    Raises:
        DataError: ``dataset.json`` is no JSON, lacks an entry, names a file outside the folder
            or names a case twice.
    """
    source = root / _FILE
    document = read_json(source, "the data set's description")
    if not isinstance(document, dict):
        raise DataError(f"{source}: must hold a JSON object; got {type(document).__name__}.")
    classes, labels = _labels(document, source)
    modalities = _modalities(document, source)
    training, test = (
        [_case(root, entry, split, len(modalities)) for entry in _entries(document, key, source)]
        for split, key in (("train", "training"), ("test", "test"))
    )
    # macOS leaves resource forks named ._x.nii.gz, which some lists name too.
    cases = [case for case in (*training, *test) if not case.image.name.startswith("._")]
    if not any(case.split == "train" for case in cases):
        raise DataError(f"{source}: the training list is empty. List at least one case.")
    _check_unique(cases, source)
    return Dataset(
        name=str(document.get("name") or root.resolve().name),
        adapter="msd",
        root=root,
        dims=3,
        modalities=modalities,
        labels=labels,
        cases=tuple(cases),
        read_image=read_image,
        read_label=lambda case: read_values(case, classes),
        stored=classes,
        ignored=ignored_value(classes),
        remarks=_remarks(document, len(training), len(test)),
    )


def _entries(document: dict[str, Any], key: str, source: Path) -> list[Any]:
    entries = document.get(key, [] if key == "test" else None)
    if not isinstance(entries, list):
        raise DataError(
            f"{source}: needs a list {key!r} of cases; got {_short(entries)}. The layout is "
            'that of the Medical Segmentation Decathlon: {"image": "./imagesTr/a.nii.gz", '
            '"label": "./labelsTr/a.nii.gz"}.'
        )
    return entries


def _case(root: Path, entry: Any, split: str, channels: int) -> Case:
    if isinstance(entry, str):  # the test list names images alone
        entry = {"image": entry}
    if not isinstance(entry, dict) or "image" not in entry:
        raise DataError(f"{root / _FILE}: a case needs an 'image'; got {_short(entry)}.")
    image = _inside(root, entry["image"])
    label = _inside(root, entry["label"]) if entry.get("label") is not None else None
    if image.exists():
        return Case(id=volume_stem(image), image=image, label=label, split=split)
    # nnU-Net's first version lists CASE.nii.gz and stores one file a channel.
    stem, suffix = volume_stem(image), image.name[len(volume_stem(image)) :]
    paths = [present(image.with_name(f"{stem}_{index:04d}{suffix}")) for index in range(channels)]
    if paths[0].exists():
        return Case(stem, paths[0], label, split=split, channels=tuple(paths[1:]))
    return Case(id=stem, image=image, label=label, split=split)


def _inside(root: Path, name: Any) -> Path:
    """Return the path of a listed file; links are followed, but names may not leave the folder."""
    if not isinstance(name, str) or not name:
        raise DataError(f"{root / _FILE}: a file name must be text; got {_short(name)}.")
    relative = Path(os.path.normpath(name))
    if relative.is_absolute() or relative.parts[:1] in {(), ("..",)} or "\0" in name:
        raise DataError(f"{root / _FILE}: files must lie inside the data set folder; got {name!r}.")
    return present(root / relative)


def _labels(document: dict[str, Any], source: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return stored value -> class, and the classes' names."""
    declared = document.get("labels")
    rule = 'needs "labels", e.g. {"0": "background", "1": "liver"}, with 2 to 255 values and a 0'
    if not isinstance(declared, dict):
        raise DataError(f"{source}: {rule}; got {_short(declared)}.")
    try:
        named = {int(value): str(name) for value, name in declared.items()}
    except ValueError:
        raise DataError(f"{source}: {rule}; got {_short(declared)}.") from None
    classes, names = classes_of(named)
    sizes = 2 <= len(names) <= _MAX_LABELS and len(named) == len(declared)
    if not sizes or min(named) != 0 or classes[0] != 0:
        raise DataError(f"{source}: {rule}; got {_short(declared)}.")
    return classes, names


def _modalities(document: dict[str, Any], source: Path) -> tuple[str, ...]:
    declared = document.get("modality")
    keys = sorted(declared) if isinstance(declared, dict) else []
    if not isinstance(declared, dict) or sorted(keys, key=_number) != [
        str(channel) for channel in range(max(1, len(keys)))
    ]:
        raise DataError(
            f'{source}: needs "modality", one entry a channel, e.g. {{"0": "CT"}}; '
            f"got {_short(declared)}."
        )
    return tuple(str(declared[str(channel)]) for channel in range(len(keys)))


def _number(key: str) -> int:
    return int(key) if key.isdecimal() else -1


def _check_unique(cases: list[Case], source: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise DataError(f"{source}: case {case.id!r} is listed twice. Remove one entry.")
        seen.add(case.id)


def _remarks(document: dict[str, Any], training: int, test: int) -> tuple[str, ...]:
    found = []
    for key, listed in (("numTraining", training), ("numTest", test)):
        declared = document.get(key, listed)
        if declared != listed:
            found.append(f"{_FILE}: {key} says {declared}; {listed} cases are listed.")
    return tuple(found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write scans of two channels in a fourth dimension, and one test scan."""
    for number in range(1, cases + 2):
        image, label = examples.draw(rng, 2)
        half = "Tr" if number <= cases else "Ts"
        array = np.stack([image, image * 2], axis=-1)
        examples.save(array, root / f"images{half}/prostate_{number:02d}.nii.gz")
        if number <= cases:
            examples.save(label, root / f"labelsTr/prostate_{number:02d}.nii.gz")
    names = [f"prostate_{number:02d}.nii.gz" for number in range(1, cases + 2)]
    document = {
        "name": "PROSTATE",
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "numTraining": cases,
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names[:-1]
        ],
        "test": [f"./imagesTs/{names[-1]}"],
    }
    write_json(root / _FILE, document)


ADAPTER = Adapter(
    name="msd",
    title="Medical Segmentation Decathlon",
    layout='dataset.json with a "training" list of image and label files',
    dims=3,
    reference="Antonelli et al. 2022, arXiv:2106.05735",
    licence="CC BY-SA 4.0",
    ids=(
        "msd",
        "msd_brain",
        "msd_heart",
        "lasc2013",
        "msd_liver",
        "msd_hippocampus",
        "msd_prostate",
        "msd_lung",
        "msd_pancreas",
        "msd_hepatic_vessel",
        "msd_spleen",
        "msd_colon",
    ),
    recognises=recognises,
    open=open_msd,
    example=example,
)
