"""Pancreas-CT and NSCLC-Radiomics: labels exactly where they were drawn; what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset
from tfseg.datasets.archive import example_lung, example_pancreas
from tfseg.datasets.examples import draw, save, save_flipped
from tfseg.datasets.phantom.series import write_ct_series
from tfseg.volume import Volume


def test_pancreas_labels_are_in_the_order_of_the_pixels(tmp_path):
    example_pancreas(tmp_path, 2, np.random.default_rng(3))
    (tmp_path / "Pancreas-CT/PANCREAS_0009").mkdir()
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["PANCREAS_0001", "PANCREAS_0002"]
    assert "PANCREAS_0009: left out" in dataset.remarks[1]
    assert "label0003.nii.gz: left out" in dataset.remarks[2]
    again = np.random.default_rng(3)
    for case in dataset.labelled:
        image, label = draw(again, 1)
        read, pancreas = dataset.load(case)
        np.testing.assert_array_equal(read.array, image)
        np.testing.assert_array_equal(pancreas.array, label)
        assert read.affine[2, 0] > 0  # slices go up


def test_pancreas_slices_go_up_even_where_the_scans_go_down(tmp_path):
    image, label = draw(np.random.default_rng(3), 1)
    # Rows run to the right, so that the normal of the slices points to the feet.
    down = Volume.from_geometry(image, (2, 1, 1), direction=[[0, 0, -1], [0, 1, 0], [-1, 0, 0]])
    write_ct_series(down, tmp_path / "PANCREAS_0001/1.2/1.3", "down")
    save_flipped(label[::-1], tmp_path / "labels/label0001.nii.gz")
    dataset = open_dataset(tmp_path)
    read, pancreas = dataset.load(dataset.labelled[0])
    assert read.affine[2, 0] < 0
    np.testing.assert_array_equal(read.array, image)
    np.testing.assert_array_equal(pancreas.array, label)


def test_tumours_are_read_from_contours_and_from_segments(tmp_path):
    example_lung(tmp_path, 2, np.random.default_rng(3))
    dataset = open_dataset(tmp_path)
    again = np.random.default_rng(3)
    for case in dataset.labelled:
        image, label = draw(again, 1)
        read, tumour = dataset.load(case)
        np.testing.assert_array_equal(read.array, image)
        np.testing.assert_array_equal(tumour.array, label)


def test_a_patient_without_a_reference_is_left_out_and_told(tmp_path):
    example_lung(tmp_path, 2, np.random.default_rng(3))
    shutil.rmtree(tmp_path / "NSCLC-Radiomics/LUNG1-001/1.2/1.000000-NA-2")
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["LUNG1-002"]
    assert "left out: LUNG1-001" in dataset.remarks[0]


def other_size(root):
    save_flipped(np.zeros((3, 20, 24), np.uint8), next(root.glob("**/label0001.nii.gz")))


def other_value(root):
    save_flipped(np.full((12, 20, 24), 3, np.uint8), next(root.glob("**/label0001.nii.gz")))


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (other_size, "as its scan, (12, 20, 24); got (3, 20, 24)"),
        (other_value, "must be among 0, 1; it has 3 in 5760 voxels"),
    ],
)
def test_bad_input_pancreas(tmp_path, capfd, spoil, rule):
    example_pancreas(tmp_path, 1, np.random.default_rng(3))
    spoil(tmp_path)
    assert run(["check", str(tmp_path)]) == 2
    said = capfd.readouterr().err
    assert rule in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("folder", "keyword", "rule"),
    [
        ("LUNG1-001/1.2/1.000000-NA-2", "StructureSetROISequence", "it has spinal cord"),
        ("LUNG1-002/1.2/300.000000-Segmentation-3", "SegmentSequence", "it has spinal cord"),
    ],
)
def test_bad_input_without_a_tumour(tmp_path, capfd, folder, keyword, rule):
    import pydicom

    example_lung(tmp_path, 2, np.random.default_rng(3))
    path = tmp_path / "NSCLC-Radiomics" / folder / "1-1.dcm"
    dataset = pydicom.dcmread(path)
    for item in dataset[keyword].value:
        if keyword == "SegmentSequence":
            item.SegmentLabel = "spinal cord"
        else:
            item.ROIName = "spinal cord"
    dataset.save_as(path)
    assert run(["check", str(tmp_path)]) == 2
    said = capfd.readouterr().err
    assert rule in said
    assert "spinal cord" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("data/pathmnist.npz", "MedMNIST holds pictures"),
        ("IXI-T1/IXI002-Guys-0828-T1.nii.gz", "IXI holds brain MR without label maps"),
    ],
)
def test_bad_input_without_segmentations(tmp_path, capfd, name, rule):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(b"")
    for command in ("check", "plan"):
        assert run([command, str(tmp_path)]) == 2
        said = capfd.readouterr().err
        assert rule in said
        assert "no segmentations to learn from" in said
        assert said.count("\n") == 1
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


@pytest.mark.parametrize("name", ["PANCREAS_0001", "LUNG1-001"])
def test_converted_copies_are_plain_folders(tmp_path, name):
    image, label = draw(np.random.default_rng(0), 1)
    save(image, tmp_path / f"images/{name}.nii.gz")
    save(label, tmp_path / f"labels/{name}.nii.gz")
    save(label, tmp_path / "labels/label0001.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.adapter == "folder_pairs"
    np.testing.assert_array_equal(dataset.load(dataset.cases[0])[1].array, label)
