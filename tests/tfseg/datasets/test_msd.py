"""The Decathlon layout: dataset.json drives everything, and is not trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfseg.datasets import open_dataset
from tfseg.datasets.check import check_dataset
from tfseg.errors import DataError
from tfseg.io import write_volume
from tfseg.volume import Volume

Make = Callable[..., Path]
CASE = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}


def test_open_and_load(make_msd: Make) -> None:
    dataset = open_dataset(make_msd())
    assert (dataset.name, dataset.adapter, dataset.dims) == ("Tiny", "msd", 3)
    assert dataset.modalities == ("CT",)
    assert dataset.labels == ("background", "organ")
    assert [case.id for case in dataset.cases] == ["a", "b", "c", "t"]
    assert [case.id for case in dataset.labelled] == ["a", "b", "c"]
    assert dataset.cases[-1].split == "test"
    image, label = dataset.load(dataset.cases[0])
    assert label.array.dtype == np.uint8
    assert np.array_equal(label.array, image.array > 50)


def test_opening_reads_no_image_and_lists_no_folder(make_msd: Make) -> None:
    root = make_msd()
    (root / "imagesTr/a.nii.gz").unlink()
    (root / "imagesTr/stray.nii.gz").write_bytes(b"")
    dataset = open_dataset(root)
    assert len(dataset.cases) == 4
    with pytest.raises(DataError, match=r"a\.nii\.gz: there is no such file"):
        dataset.load(dataset.cases[0])


def test_resource_forks_are_ignored(make_msd: Make) -> None:
    fork = {"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"}
    assert len(open_dataset(make_msd(training=[CASE, fork])).labelled) == 1


def test_labels_stored_as_float_and_with_gaps(make_msd: Make) -> None:
    root = make_msd(labels={"0": "background", "500": "left", "205": "wall"})
    image = Volume.from_geometry(np.zeros((1, 1, 3), np.float32))
    write_volume(image, root / "imagesTr/a.nii.gz")
    write_volume(image.with_array(np.float32([[[0, 500, 205]]])), root / "labelsTr/a.nii.gz")
    dataset = open_dataset(root)
    assert dataset.labels == ("background", "wall", "left")
    assert dataset.load(dataset.cases[0])[1].array.ravel().tolist() == [0, 2, 1]


@pytest.mark.parametrize("value", [2, -1, 0.5, 300])
def test_a_label_outside_the_map_names_value_and_case(make_msd: Make, value: float) -> None:
    root = make_msd()
    array = np.zeros((4, 5, 6), np.float32)
    array[0, 0, :2] = value
    write_volume(Volume.from_geometry(array), root / "labelsTr/b.nii.gz")
    dataset = open_dataset(root)
    rule = rf"labelsTr/b.nii.gz: label values must be among 0, 1; it has {value:g} in 2 voxels"
    with pytest.raises(DataError, match=rule):
        dataset.load(dataset.cases[1])


def test_channels_come_last(make_msd: Make) -> None:
    root = make_msd(modality={"0": "T1", "1": "T2"})
    image = Volume.from_geometry(np.zeros((4, 5, 6, 2), np.int16))
    write_volume(image, root / "imagesTr/a.nii.gz")
    dataset = open_dataset(root)
    assert dataset.modalities == ("T1", "T2")
    assert dataset.read_image(dataset.cases[0]).array.shape == (4, 5, 6, 2)
    with pytest.raises(DataError, match=r"declares 2 channels \(T1, T2\); the image has 1"):
        dataset.load(dataset.cases[1])


def test_nan_and_another_grid(make_msd: Make) -> None:
    root = make_msd()
    array = np.full((4, 5, 6), np.nan, np.float32)
    write_volume(Volume.from_geometry(array), root / "imagesTr/a.nii.gz")
    shifted = Volume.from_geometry(np.zeros((4, 5, 6), np.uint8), origin_mm=(1, 0, 0))
    write_volume(shifted, root / "labelsTr/b.nii.gz")
    dataset = open_dataset(root)
    with pytest.raises(DataError, match="NaN or infinite"):
        dataset.load(dataset.cases[0])
    with pytest.raises(DataError, match="case b: image and label must lie on one grid"):
        dataset.load(dataset.cases[1])


def test_a_wrong_count_is_a_remark(make_msd: Make) -> None:
    remarks = open_dataset(make_msd(numTraining=7)).remarks
    assert remarks == ("dataset.json: numTraining says 7; 3 cases are listed.",)


@pytest.mark.parametrize(
    ("entries", "rule"),
    [
        ({"training": None}, "needs a list 'training' of cases; got None"),
        ({"training": []}, "the training list is empty"),
        ({"training": [{"label": "x"}]}, "a case needs an 'image'"),
        ({"training": [CASE, CASE]}, "case 'a' is listed twice"),
        ({"training": [{"image": "../secret.nii.gz"}]}, r"inside .*; got '\.\./secret"),
        ({"training": [{"image": "/etc/passwd"}]}, "inside the data set folder; got '/etc/passwd'"),
        ({"training": [{"image": "a/../../b.nii"}]}, "inside the data set folder"),
        ({"training": [{"image": 5}]}, "a file name must be text; got 5"),
        ({"labels": None}, 'needs "labels"'),
        ({"labels": {"0": "background"}}, "with 2 to 255 values"),
        ({"labels": {"1": "a", "2": "b"}}, "and a 0"),
        ({"labels": {"zero": "a", "1": "b"}}, "'zero'"),
        ({"modality": {"1": "CT"}}, 'needs "modality", one entry a channel'),
        ({"modality": None}, 'needs "modality"'),
    ],
)
def test_descriptions_that_are_not_valid(
    make_msd: Make, entries: dict[str, Any], rule: str
) -> None:
    with pytest.raises(DataError, match=rule) as caught:
        open_dataset(make_msd(**entries))
    assert "\n" not in str(caught.value)


def test_links_to_other_disks_are_followed(make_msd: Make, tmp_path: Path) -> None:
    root = make_msd()
    elsewhere = tmp_path / "elsewhere.nii.gz"
    (root / "imagesTr/a.nii.gz").rename(elsewhere)
    (root / "imagesTr/a.nii.gz").symlink_to(elsewhere)
    dataset = open_dataset(root)
    assert dataset.load(dataset.cases[0])[0].shape == (4, 5, 6)


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no known data set layout\. Looked for csv, nnunet, msd, .*, drive, "
    ):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="must be a folder"):
        open_dataset(tmp_path / "file")


def test_folds_cover_every_labelled_case_once(make_msd: Make) -> None:
    dataset = open_dataset(make_msd())
    held_out = []
    for fold in range(3):
        training, validation = dataset.split(fold, seed=1)
        assert {case.id for case in training} | {case.id for case in validation} == {"a", "b", "c"}
        held_out += [case.id for case in validation]
        assert dataset.split(fold, seed=1) == (training, validation)
    assert sorted(held_out) == ["a", "b", "c"]
    assert dataset.split(None) == (dataset.labelled, ())


def test_real_hippocampus(real_data: Path) -> None:
    dataset = open_dataset(real_data / "Task04_Hippocampus")
    assert len(dataset.labelled) == 200
    assert dataset.labels == ("background", "Anterior", "Posterior")
    for case in dataset.cases[::40]:
        image, label = dataset.load(case)
        assert image.spacing_mm == (1, 1, 1)
        assert set(np.unique(label.array)) == {0, 1, 2}
    sizes = [len(dataset.split(fold)[1]) for fold in range(dataset.folds)]
    assert sizes == [40] * 5


def test_real_strays_are_each_named(real_data: Path) -> None:
    report = check_dataset(open_dataset(real_data / "hippocampus_strays"))
    named = {(problem.case, problem.kind) for problem in report.problems}
    assert named == {
        ("hippocampus_118", "missing"),
        ("hippocampus_010", "missing"),
        ("hippocampus_281", "missing"),
    }


def test_bad_input_a_name_that_no_disk_takes(tmp_path):
    entry = {"image": "./imagesTr/a.nii.gz", "label": "é" * 200}
    labels = {"0": "background", "1": "liver"}
    document = {"modality": {"0": "CT"}, "labels": labels, "training": [entry]}
    (tmp_path / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="file names have at most 255 bytes"):
        open_dataset(tmp_path)
