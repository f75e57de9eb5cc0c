"""The DRIVE layout, made by hand and real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfseg.datasets import open_dataset
from tfseg.errors import DataError


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for half, numbers in (("training", (21, 22)), ("test", (1,))):
        for number in numbers:
            base = tmp_path / half
            photo = rng.integers(0, 256, (8, 6, 3)).astype(np.uint8)
            save(base / f"images/{number:02d}_{half}.tif", photo)
            save(base / f"mask/{number:02d}_{half}_mask.gif", np.full((8, 6), 255, np.uint8))
            if half == "training":
                vessels = (photo[..., 1] > 128).astype(np.uint8) * 255
                save(base / f"1st_manual/{number}_manual1.gif", vessels)
    return tmp_path


def test_open_and_load(drive: Path) -> None:
    dataset = open_dataset(drive)
    assert (dataset.name, dataset.dims, dataset.folds) == ("DRIVE", 2, 4)
    assert dataset.modalities == ("R", "G", "B")
    assert [case.id for case in dataset.cases] == ["21", "22", "01"]
    assert [case.id for case in dataset.labelled] == ["21", "22"]
    image, label = dataset.load(dataset.cases[0])
    assert image.array.shape == (1, 8, 6, 3)
    assert np.array_equal(label.array, image.array[..., 1] > 128)
    assert dataset.read_mask is not None
    assert dataset.read_mask(dataset.cases[0]).array.dtype == np.bool_


def test_test_references_and_second_observers(drive: Path) -> None:
    white = np.full((8, 6), 255, np.uint8)
    save(drive / "test/1st_manual/01_manual1.gif", white)
    save(drive / "test/2nd_manual/01_manual2.gif", white)
    save(drive / "training/images/._21_training.tif", white)
    dataset = open_dataset(drive)
    assert [case.label is not None for case in dataset.cases] == [True, True, True]
    assert [case.id for case in dataset.labelled] == ["21", "22"]


def test_values_between_black_and_white_are_refused(drive: Path) -> None:
    gray = np.full((8, 6), 255, np.uint8)
    gray[0, :3], gray[1:] = 7, 0
    save(drive / "training/1st_manual/21_manual1.gif", gray)
    dataset = open_dataset(drive)
    with pytest.raises(DataError, match="0 and one other value; 3 voxels have more"):
        dataset.load(dataset.cases[0])


def test_no_pictures(drive: Path) -> None:
    for path in (drive / "training/images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"named like 21_training\.tif; found none"):
        open_dataset(drive)


def test_real_drive(real_data: Path) -> None:
    dataset = open_dataset(real_data / "DRIVE")
    assert len(dataset.labelled) == 20
    assert len(dataset.cases) == 40
    assert [case.id for case in dataset.labelled] == [str(number) for number in range(21, 41)]
    image, label = dataset.load(dataset.labelled[0])
    assert dataset.read_mask is not None
    mask = dataset.read_mask(dataset.labelled[0])
    assert image.array.shape == (1, 584, 565, 3)
    assert 0.05 < label.array[mask.array].mean() < 0.25
    training, validation = dataset.split(0)
    assert (len(training), len(validation)) == (15, 5)
