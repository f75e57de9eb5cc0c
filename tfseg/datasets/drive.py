"""DRIVE: retinal vessels in fundus photographs (Staal et al. 2004, TMI 23(4):501-509).

Official layout: ``training/images/21_training.tif``, ``training/1st_manual/21_manual1.gif``,
``training/mask/21_training_mask.gif``; the same under ``test`` with ``01_test.tif``, where the
manual segmentation is not always published. ``2nd_manual`` (a second observer) is not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tfseg.datasets import examples
from tfseg.datasets.base import Adapter, Case, Dataset
from tfseg.datasets.reading import binary
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.volume import Volume

_FOLDS = 4  # 20 training images: 5 held out at a time


def recognises(root: Path) -> bool:
    """Tell whether the folder has ``training/images`` and ``training/1st_manual``."""
    return (root / "training/images").is_dir() and (root / "training/1st_manual").is_dir()


def open_drive(root: Path) -> Dataset:
    """Open a folder in the DRIVE layout.

    Raises:
        DataError: no training images, or two with one number.
    """
    training, test = _cases(root, "training", "train"), _cases(root, "test", "test")
    if not training:
        raise DataError(
            f"{root / 'training/images'}: needs pictures named like 21_training.tif; found none."
        )
    ids = [case.id for case in (*training, *test)]
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise DataError(f"{root}: image number {repeated[0]} is used twice. Remove one.")
    return Dataset(
        name="DRIVE",
        adapter="drive",
        root=root,
        dims=2,
        modalities=("R", "G", "B"),
        labels=("background", "vessel"),
        cases=(*training, *test),
        read_image=lambda case: read_volume(case.image),
        read_label=_read_label,
        read_mask=_read_mask,
        folds=_FOLDS,
    )


def _cases(root: Path, folder: str, split: str) -> list[Case]:
    base = root / folder
    found = []
    for image in sorted(base.glob(f"images/*_{folder}.tif")):
        number = image.name.split("_")[0]
        if not re.fullmatch(r"\d+", number):
            continue
        label = base / "1st_manual" / f"{number}_manual1.gif"
        found.append(
            Case(
                id=number,
                image=image,
                # The test half's references are often withheld; a training one must be there.
                label=label if split == "train" or label.exists() else None,
                mask=base / "mask" / f"{number}_{folder}_mask.gif",
                split=split,
            )
        )
    return found


def _read_label(case: Case) -> Volume:
    if case.label is None:
        raise DataError(f"case {case.id}: the data set holds no manual segmentation for it.")
    return _read_binary(case.label)


def _read_mask(case: Case) -> Volume:
    if case.mask is None:
        raise DataError(f"case {case.id}: the data set holds no field of view for it.")
    volume = _read_binary(case.mask)
    return volume.with_array(volume.array.astype(bool))


def _read_binary(path: Path) -> Volume:
    """Read a picture of 0 and one other number as 0 and 1."""
    volume = read_volume(path, labels=True)
    return volume.with_array(binary(volume.array, path).astype(np.uint8))


def example(root: Path, cases: int, rng: np.random.Generator) -> None:
    """Write photographs with vessels and fields of view, and one test photograph."""
    for number in range(cases + 1):
        gray, label = examples.picture(rng)
        half, name = ("training", f"{21 + number}") if number < cases else ("test", "01")
        base = root / half
        examples.save_picture(examples.colour(gray), base / f"images/{name}_{half}.tif")
        view = np.full_like(gray, 255)
        examples.save_picture(view, base / f"mask/{name}_{half}_mask.gif")
        if half == "training":
            examples.save_picture(label * 255, base / f"1st_manual/{name}_manual1.gif")


ADAPTER = Adapter(
    name="drive",
    title="DRIVE: retinal vessels",
    layout="training/images/NN_training.tif with training/1st_manual/NN_manual1.gif",
    dims=2,
    reference="Staal et al. 2004, doi:10.1109/TMI.2004.825627",
    licence="terms of use of the publisher",
    registration=True,
    recognises=recognises,
    open=open_drive,
    example=example,
)
