"""Plain folders: ``images`` beside ``labels``, and a table ``cases.csv``."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset, ignored_value
from tfseg.datasets.inferred import LABELS_FILE, channel_names, label_table, rank_of, read_table
from tfseg.datasets.reading import check_ids, normalised, present, read_values, stacked
from tfseg.errors import DataError
from tfseg.io import read_volume, volume_stem, volume_suffix
from tfseg.io.suffixes import VOLUMES
from tfseg.volume import Volume

_IMAGES = ("images", "image", "imgs", "img", "imagesTr", "scans")
_LABELS = ("labels", "label", "masks", "mask", "labelsTr", "annotations", "segmentations", "gt")
# What people add to an image's name to name its label.
_ENDINGS = (
    "", "_label", "_labels", "_mask", "_seg", "_segmentation", "_gt", "-label", "-mask", "-seg",
    "-segmentation", " Segmentation",
)  # fmt: skip
_TRAINING = ("", "train", "training")
_TEST = ("test", "testing")


def _pair(root: Path) -> tuple[Path, Path] | None:
    """Return the folders of training images and labels below ``root``."""
    for half in _TRAINING:
        for images in _IMAGES:
            for labels in _LABELS:
                if (root / half / images).is_dir() and (root / half / labels).is_dir():
                    return root / half / images, root / half / labels
    return None


def recognises_pairs(root: Path) -> bool:
    """Tell whether there are a folder of images and one of labels."""
    return _pair(root) is not None


def open_pairs(root: Path) -> Dataset:
    """Open ``images`` and ``labels``, matched by name; ``test/images`` are the test set.

    A label may be a DICOM Segmentation or structure set, or a segmentation of 3D Slicer. An
    image without a label, or a label without an image, becomes a case that ``tfseg check``
    reports.

    Raises:
        DataError: no images, two images with one name, or two labels of one image.
    """
    folders = _pair(root)
    if folders is None:
        raise DataError(f"{root}: needs a folder images and a folder labels.")
    images, labels = _files(folders[0]), _files(folders[1])
    label_of: dict[str, Path] = {}
    for stem, path in labels.items():
        other = label_of.setdefault(_matching(stem, images), path)
        if other is not path:
            raise DataError(
                f"{folders[1]}: {other.name} and {path.name} are labels of one image. Remove one."
            )
    cases = [Case(stem, path, label_of.pop(stem, None)) for stem, path in sorted(images.items())]
    cases += [  # what check will name as missing
        Case(stem, folders[0] / path.name, path) for stem, path in sorted(label_of.items())
    ]
    for half in _TEST:
        folder = root / half / folders[0].name
        for stem, path in sorted(_files(folder).items() if folder.is_dir() else ()):
            cases.append(Case(f"test_{stem}" if stem in images else stem, path, split="test"))
    return _plain(root, "folder_pairs", check_ids(root, cases))


def _files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        is_series = path.is_dir() and any(path.iterdir())
        if path.name.startswith(".") or not (is_series or volume_suffix(path)):
            continue
        other = found.setdefault(normalised(volume_stem(path)), path)
        if other is not path:
            raise DataError(f"{folder}: {other.name} and {path.name} have one name. Remove one.")
    return found


def _matching(stem: str, images: dict[str, Path]) -> str:
    """Return the image's name that a label's name stands for, else the label's own."""
    for ending in _ENDINGS:
        if stem.endswith(ending) and stem[: len(stem) - len(ending)] in images:
            return stem[: len(stem) - len(ending)]
    return stem


def _plain(root: Path, adapter: str, cases: tuple[Case, ...]) -> Dataset:
    """Return a data set whose channels and labels are learned from its files."""
    first = next((case for case in cases if all(path.exists() for path in case.files)), None)
    if first is None:
        raise DataError(f"{root}: of no case all files exist. Check the paths.")
    dims, thin = rank_of(cases)
    classes, names, remarks = label_table(root, cases)
    modalities = channel_names(first, _read)
    if len(modalities) > 1 and not first.channels and volume_suffix(first.image) in VOLUMES:
        remarks += (
            f"{first.image.name} has {len(modalities)} values a voxel (a further dimension), which "
            "are taken as channels. If they are points in time, save each as a case of its own.",
        )
    return Dataset(
        name=root.resolve().name,
        adapter=adapter,
        root=root,
        dims=dims,
        modalities=modalities,
        labels=names,
        cases=cases,
        read_image=_read,
        read_label=lambda case: read_values(case, classes, allow_2d=True, names=names),
        stored=classes,
        read_mask=_read_mask,
        ignored=ignored_value(classes),
        remarks=(*remarks, *thin),
    )


def _read(case: Case) -> Volume:
    return stacked(case, read_volume(case.image), [read_volume(path) for path in case.channels])


def _read_mask(case: Case) -> Volume:
    if case.mask is None:
        raise DataError(f"case {case.id}: it has no mask.")
    volume = read_volume(case.mask, labels=True)
    return volume.with_array(volume.channel_last()[..., 0] > 0)


def example_pairs(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write pairs of volumes with declared labels, and one test image."""
    for number in range(cases + 1):
        image, label = examples.draw(rng, 2)
        half = "" if number < cases else "test"
        examples.save(image, root / half / f"images/case_{number}.nii.gz")
        if number < cases:
            examples.save(label * 10, root / f"labels/case_{number}_seg.nii.gz")
    examples.write_text(root / LABELS_FILE, "value,name\n0,background\n10,organ\n20,lesion\n")


_TABLE = "cases.csv"
_COLUMNS = ("id", "image", "label", "mask", "split", "patient", "fold")


def recognises_table(root: Path) -> bool:
    """Tell whether the folder has a ``cases.csv``."""
    return (root / _TABLE).is_file()


def open_table(root: Path) -> Dataset:
    """Open ``cases.csv``: columns id, image, label, and if wanted mask, split, patient, fold.

    Paths are relative to the folder. Several files in ``image``, separated by ``;``, are
    channels. ``split`` is ``train`` (default) or ``test``; ``fold`` counts from 0.

    Raises:
        DataError: a column is missing, a cell breaks its rule, or a path leaves the folder.
    """
    rows = read_table(root / _TABLE, ("id", "image", "label"))
    unread = sorted(set(rows[0] if rows else ()) - set(_COLUMNS) - {""})
    for name in unread:
        if near := difflib.get_close_matches(name, _COLUMNS, n=1, cutoff=0.8):
            raise DataError(
                f"{root / _TABLE}: there is no column {name!r}; {near[0]!r} is one. Correct the "
                f"name: columns that are read are {', '.join(_COLUMNS)}."
            )
    cases = check_ids(root, [_row(root, row) for row in rows])
    drawn = [
        case.fold is None for case in cases if case.label is not None and case.split == "train"
    ]
    if any(drawn) and not all(drawn):
        raise DataError(
            f"{root / _TABLE}: either every labelled training case has a fold or none has; "
            f"{sum(drawn)} of {len(drawn)} have none."
        )
    fold_of: dict[str, int | None] = {}
    for case in cases:
        if case.group and fold_of.setdefault(case.group, case.fold) != case.fold:
            raise DataError(
                f"{root / _TABLE}: a patient's cases must be in one fold; those of "
                f"{case.group} are in {fold_of[case.group]} and {case.fold}."
            )
    dataset = _plain(root, "csv", cases)
    remarks = (f"columns of {_TABLE} that are not read: {', '.join(unread)}.",) if unread else ()
    return replace(dataset, remarks=(*dataset.remarks, *remarks))


def _row(root: Path, row: dict[str, str]) -> Case:
    images = [_inside(root, name) for name in row["image"].split(";")]
    label, mask = row["label"].strip(), row.get("mask", "").strip()
    split, fold = row.get("split", "").strip() or "train", row.get("fold", "").strip()
    if split not in {"train", "test"}:
        raise DataError(f"{root / _TABLE}: split must be train or test; got {split!r}.")
    if fold and not fold.isdecimal():
        raise DataError(f"{root / _TABLE}: fold must be 0, 1, 2, ...; got {fold!r}.")
    if not row["id"].strip():
        raise DataError(f"{root / _TABLE}: every case needs an id; {row['image']!r} has none.")
    return Case(
        id=row["id"].strip(),
        image=images[0],
        label=_inside(root, label) if label else None,
        mask=_inside(root, mask) if mask else None,
        split=split,
        channels=tuple(images[1:]),
        group=row.get("patient", "").strip(),
        fold=int(fold) if fold else None,
    )


def _inside(root: Path, name: str) -> Path:
    relative = Path(os.path.normpath(name.strip()))
    if not name.strip() or relative.is_absolute() or relative.parts[:1] == ("..",):
        raise DataError(
            f"{root / _TABLE}: files must be named relative to the folder and lie inside it; "
            f"got {name!r}."
        )
    return present(root / relative)


def example_table(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write volumes of two channels with patients and folds, and one test case."""
    lines = ["id,image,label,split,patient,fold"]
    for number in range(cases + 1):
        image, label = examples.draw(rng, 1)
        names = [f"scans/{number}_{channel}.nii.gz" for channel in ("t1", "t2")]
        for gain, name in enumerate(names, start=1):
            examples.save((gain * image).astype(np.int16), root / name)
        if number < cases:
            examples.save(label, root / f"scans/{number}_tumour.nii.gz")
            reference = f"scans/{number}_tumour.nii.gz"
            patient = number // 2
            lines.append(
                f"case_{number},{';'.join(names)},{reference},train,p{patient},{patient % 2}"
            )
        else:
            lines.append(f"case_{number},{';'.join(names)},,test,,")
    examples.write_text(root / _TABLE, "\n".join(lines) + "\n")
    examples.write_text(root / LABELS_FILE, "value,name\n0,background\n1,tumour\n")


ADAPTERS = (
    Adapter(
        name="csv",
        title="A table of cases of your own",
        layout=f"{_TABLE} with the columns id, image, label[, mask, split, patient, fold]",
        dims=3,
        reference="tfseg",
        licence="yours",
        recognises=recognises_table,
        open=open_table,
        example=example_table,
    ),
    Adapter(
        name="folder_pairs",
        title="Folders of images and labels",
        layout=f"images/NAME.* with labels/NAME.*, {LABELS_FILE} if the labels have names",
        dims=3,
        reference="tfseg",
        licence="yours",
        ids=("folder_pairs", "adni", "nitrc"),
        recognises=recognises_pairs,
        open=open_pairs,
        example=example_pairs,
    ),
)
