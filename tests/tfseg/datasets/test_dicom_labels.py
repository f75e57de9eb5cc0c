"""DICOM Segmentations and structure sets as the labels of a data set."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.datasets.phantom.series import write_ct_series
from tfseg.io import read_volume, write_volume
from tfseg.io.dicom_out.about import About
from tfseg.io.dicom_out.rtstruct import write_rtstruct
from tfseg.io.dicom_out.seg import write_seg
from tfseg.io.dicom_out.sources import read_source
from tfseg.io.dicom_out.stamp import Stamp
from tfseg.volume import Volume


def save_scan(folder: Path, seed: int) -> Volume:
    voxels = np.random.default_rng(seed).integers(-100, 200, (6, 12, 14)).astype(np.int16)
    write_ct_series(Volume.from_geometry(voxels, (3, 0.8, 0.8), (1, 2, 3)), folder, str(seed))
    return read_volume(folder)


def save_object(scan: Path, target: Path, write, names: tuple[str, ...], array) -> None:
    source = read_source(scan)
    about = About(("background", *names), ((0, 0, 0), *[(9, 9, 9)] * len(names)), "hand", "1")
    labels = Volume(array, source.grid_affine)
    target.parent.mkdir(parents=True, exist_ok=True)
    write(labels, source, target, about, Stamp(datetime(2026, 1, 2), str(target)))


def blocks(shape=(6, 12, 14)):
    array = np.zeros(shape, np.uint8)
    array[1:4, 2:7, 3:8] = 1
    array[2:5, 8:11, 8:13] = 2
    return array


@pytest.fixture
def root(tmp_path):
    """Two cases whose Segmentations number the structures differently, one a structure set."""
    names = {"a": ("Liver", "spleen"), "b": ("spleen", "liver"), "c": ("liver", "spleen")}
    for seed, (case, labels) in enumerate(names.items()):
        save_scan(tmp_path / f"set/images/{case}", seed)
        save_object(
            tmp_path / f"set/images/{case}", tmp_path / f"set/labels/{case}.dcm",
            write_rtstruct if case == "c" else write_seg, labels, blocks(),
        )  # fmt: skip
    return tmp_path / "set"


def test_structures_are_matched_by_name(root):
    dataset = open_dataset(root)
    assert dataset.labels == ("background", "Liver", "spleen")
    found = {case.id: dataset.read_label(case).array for case in dataset.cases}
    swapped = np.array([0, 2, 1])[blocks()]
    np.testing.assert_array_equal(found["a"], blocks())
    np.testing.assert_array_equal(found["b"], swapped)
    np.testing.assert_array_equal(found["c"], blocks())
    assert "3 segmentations" in dataset.remarks[0]


def test_check_accepts_them(root, capsys):
    assert run(["check", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["problems"] == []


def test_a_declaration_chooses_structures(root):
    (root / "labels.csv").write_text("value,name\n0,background\n1,spleen\n")
    dataset = open_dataset(root)
    case = next(case for case in dataset.cases if case.id == "a")
    np.testing.assert_array_equal(dataset.read_label(case).array, blocks() == 2)


def test_a_table_of_cases_takes_them_with_nifti_images(root, tmp_path):
    table = tmp_path / "table"
    table.mkdir()
    write_volume(read_volume(root / "images/a"), table / "a.nii.gz")
    shutil.copy(root / "labels/a.dcm", table / "a.dcm")
    (table / "cases.csv").write_text("id,image,label\na,a.nii.gz,a.dcm\n")
    dataset = open_dataset(table)
    np.testing.assert_array_equal(dataset.read_label(dataset.cases[0]).array, blocks())


def test_bad_input_labels_of_two_kinds(root, capfd):
    label = read_volume(root / "images/a").with_array(blocks())
    (root / "labels/a.dcm").unlink()
    write_volume(label, root / "labels/a.nii.gz")
    assert run(["check", str(root)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "2 labels are segmentations with names and 1 are label maps" in line


def test_bad_input_a_label_of_another_scan(root, capfd):
    (root / "labels/a.dcm").unlink()
    far = root.parent / "far"
    voxels = np.zeros((6, 12, 14), np.int16)
    write_ct_series(Volume.from_geometry(voxels, (3, 0.8, 0.8), (900, 2, 3)), far, "far")
    save_object(far, root / "labels/a.dcm", write_seg, ("liver",), blocks() // 2)
    assert run(["check", str(root)]) != 0
    captured = capfd.readouterr()
    assert "must be in the frame of reference" in captured.out.replace("\n", " ") + captured.err


def test_bad_input_predictions_whose_names_are_mixed_up(root, tmp_path, capsys):
    predictions = tmp_path / "predictions"
    shutil.copytree(root / "labels", predictions)
    shutil.copy(root / "labels/a.dcm", predictions / "b.dcm")
    assert run(["evaluate", str(predictions), "--data", str(root), "-o", str(tmp_path / "o")]) == 1
    assert "its FrameOfReferenceUID is another one" in capsys.readouterr().err


def test_a_real_structure_set_is_a_label(real_data, tmp_path):
    mock = real_data / "dicom/rt_utils_mock"
    sets = [path for path in sorted(mock.iterdir()) if "rt" in path.name.lower()]
    assert sets
    (tmp_path / "images/one").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    for path in mock.iterdir():
        if path not in sets and path.is_file():
            shutil.copy(path, tmp_path / "images/one")
    shutil.copy(sets[0], tmp_path / "labels/one.dcm")
    dataset = open_dataset(tmp_path)
    assert len(dataset.labels) > 1
    assert dataset.read_label(dataset.cases[0]).array.any()


def test_real_masks_in_dicom_are_labels(real_data, tmp_path):
    # Image and mask are series of images; their origins differ by rounding.
    studies = sorted((real_data / "dicom/brain_tumor_progression/PGBM-001").iterdir())
    for number, study in enumerate(studies):
        image, mask = (next(study.glob(pattern)) for pattern in ("*T1post*", "*MaskTumor*"))
        shutil.copytree(image, tmp_path / f"images/{number}")
        shutil.copytree(mask, tmp_path / f"labels/{number}")
    dataset = open_dataset(tmp_path)
    for case in dataset.cases:
        image, label = dataset.load(case)
        assert image.shape == label.shape
        assert 0 < label.array.mean() < 0.05


def test_a_real_segmentation_is_a_label(real_data, tmp_path):
    files = real_data / "dicom/highdicom_test_files"
    for folder, name in (
        ("images", "ct_image.dcm"), ("labels", "seg_image_ct_binary_single_frame.dcm"),
    ):  # fmt: skip
        (tmp_path / folder).mkdir()
        shutil.copy(files / name, tmp_path / folder / "one.dcm")
    dataset = open_dataset(tmp_path)
    assert dataset.labels == ("background", "first segment")
    label = dataset.read_label(dataset.cases[0])
    # What pydicom has: one frame of ones and zeros.
    import pydicom

    drawn = pydicom.dcmread(files / "seg_image_ct_binary_single_frame.dcm").pixel_array
    np.testing.assert_array_equal(label.array[0], drawn)


def test_results_in_dicom_are_evaluated_by_name(root, tmp_path, capsys):
    predictions = tmp_path / "predictions"
    shutil.copytree(root / "labels", predictions)
    # Of case b liver and spleen are the other way round.
    save_object(root / "images/b", predictions / "b.dcm", write_seg, ("Liver", "spleen"), blocks())
    arguments = ["evaluate", str(predictions), "--data", str(root), "--json"]
    assert run([*arguments, "-o", str(tmp_path / "out")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["classes"]) == ["Liver", "spleen"]
    assert document["mean_dice"] == pytest.approx(2 / 3)  # a and c are right, b is wrong
