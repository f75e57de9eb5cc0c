"""BIDS with label maps as derivatives (https://bids-specification.readthedocs.io, version 1.9).

Images: ``sub-01/[ses-x/]anat/sub-01_T1w.nii.gz``. References, below ``derivatives/PIPELINE``:
``sub-01_T1w_seg-manual.nii.gz``, or BIDS' own ``sub-01_[space-orig_]label-X_mask.nii.gz`` and
``sub-01_[desc-Y_]dseg.nii.gz``.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.inferred import channel_names, label_table
from tfseg.datasets.reading import check_ids, find, read_image, read_masks, read_values
from tfseg.errors import DataError
from tfseg.files import read_json, write_json

_DESCRIPTION = "dataset_description.json"
_MASK = re.compile(r"_label-(?P<name>[A-Za-z0-9]+)_mask$|_(?P<other>[A-Za-z]+)-manual$")
_MAP = re.compile(r"_dseg$")
# Entities that only references have; without them the name is the image's.
_OF_REFERENCES = re.compile(r"_(?:label|desc|space|res|atlas|probseg)-[A-Za-z0-9]+")


def recognises(root: Path) -> bool:
    """Tell whether subjects' folders and references below ``derivatives`` are there."""
    return any(root.glob("sub-*")) and any(root.glob("derivatives/**/sub-*.nii*"))


def _stem(path: Path) -> str:
    return path.name.partition(".nii")[0]


def open_bids(root: Path) -> Dataset:
    """Open the images of the one contrast that most references are of.

    Label maps (``dseg``) win over masks; of masks, those structures that every case has become
    classes, in order of name.

    Raises:
        DataError: no reference belongs to an image.
    """
    images = {
        _stem(path): path
        for path in (*find(root, "sub-*/*/*.nii*"), *find(root, "sub-*/ses-*/*/*.nii*"))
    }
    references = find(root, "derivatives/**/sub-*.nii*")
    maps: dict[str, Path] = {}
    masks: dict[str, dict[str, Path]] = {}
    for path in references:
        stem = _stem(path)
        matched = _MASK.search(stem)
        if matched:
            owner = _owner(stem[: matched.start()], images)
            if owner:
                name = matched["name"] or matched["other"]
                masks.setdefault(owner, {})[name] = path
        elif _MAP.search(stem):
            owner = _owner(_MAP.sub("", stem), images)
            if owner:
                maps[owner] = path
    owners = maps or masks
    if not owners:
        raise DataError(
            f"{root}: no reference in derivatives belongs to an image. References are named "
            "SUBJECT_[..]_label-X_mask, SUBJECT_[..]_dseg or IMAGE_X-manual."
        )
    contrast = Counter(_contrast(owner) for owner in owners).most_common(1)[0][0]
    chosen = sorted(owner for owner in owners if _contrast(owner) == contrast)
    return (
        _with_maps(root, images, maps, chosen) if maps else _with_masks(root, images, masks, chosen)
    )


def _owner(stem: str, images: dict[str, Path]) -> str | None:
    """Return the image that a reference's name, without its own ending, belongs to."""
    plain = _OF_REFERENCES.sub("", stem)
    if plain in images:
        return plain
    # BIDS leaves the contrast out of the reference's name where there is one image.
    candidates = [name for name in images if name.rpartition("_")[0] == plain]
    return candidates[0] if len(candidates) == 1 else None


def _contrast(stem: str) -> str:
    return stem.rpartition("_")[2]


def _subject(stem: str) -> str:
    return stem.partition("_")[0]


def _with_maps(
    root: Path, images: dict[str, Path], maps: dict[str, Path], chosen: list[str]
) -> Dataset:
    cases = check_ids(
        root, [Case(name, images[name], maps[name], group=_subject(name)) for name in chosen]
    )
    classes, names, remarks = label_table(root, cases)
    return Dataset(
        name=_name(root),
        adapter="bids",
        root=root,
        dims=3,
        modalities=_modalities(cases[0]),
        labels=names,
        cases=cases,
        read_image=read_image,
        read_label=lambda case: read_values(case, classes),
        stored=classes,
        remarks=remarks,
    )


def _with_masks(
    root: Path, images: dict[str, Path], masks: dict[str, dict[str, Path]], chosen: list[str]
) -> Dataset:
    shared = sorted(set.intersection(*(set(masks[name]) for name in chosen)))
    left = sorted(set().union(*(masks[name] for name in chosen)) - set(shared))
    if not shared:
        raise DataError(f"{root}: the cases have no structure in common; found {', '.join(left)}.")
    cases = []
    for name in chosen:
        paths = [masks[name][structure] for structure in shared]
        cases.append(
            Case(name, images[name], paths[0], parts=tuple(paths[1:]), group=_subject(name))
        )
    checked = check_ids(root, cases)
    remarks = (f"structures that not every case has are left out: {', '.join(left)}.",)
    return Dataset(
        name=_name(root),
        adapter="bids",
        root=root,
        dims=3,
        modalities=_modalities(checked[0]),
        labels=("background", *shared),
        cases=checked,
        read_image=read_image,
        read_label=read_masks,
        remarks=remarks if left else (),
    )


def _modalities(case: Case) -> tuple[str, ...]:
    names = channel_names(case, read_image)
    return (_contrast(case.id),) if len(names) == 1 else names


def _name(root: Path) -> str:
    path = root / _DESCRIPTION
    document = read_json(path, "the data set's description") if path.is_file() else {}
    named = document.get("Name") if isinstance(document, dict) else None
    return str(named or root.resolve().name)


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write subjects with one contrast and two masks each."""
    write_json(root / _DESCRIPTION, {"Name": "Example", "BIDSVersion": "1.9.0"})
    for number in range(1, cases + 1):
        image, label = examples.draw(rng, 2)
        subject = f"sub-{number:02d}"
        examples.save(image, root / f"{subject}/anat/{subject}_T2w.nii.gz")
        folder = root / f"derivatives/labels/{subject}/anat"
        for value, name in ((1, "cord"), (2, "lesion")):
            mask = (label == value).astype(np.uint8)
            examples.save(mask, folder / f"{subject}_T2w_label-{name}_mask.nii.gz")


ADAPTERS = (
    Adapter(
        name="bids",
        title="BIDS with references as derivatives",
        layout="sub-01/anat/sub-01_T1w.nii.gz with derivatives/**/sub-01_T1w_label-X_mask.nii.gz",
        dims=3,
        reference="Gorgolewski et al. 2016, doi:10.1038/sdata.2016.44",
        licence="of the data in it",
        recognises=recognises,
        open=open_bids,
        example=example,
    ),
)
