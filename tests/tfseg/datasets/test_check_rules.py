"""``check_dataset``: one problem of each kind, and a summary worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tfseg.datasets import open_dataset
from tfseg.datasets.check import check_dataset
from tfseg.io import read_volume, write_volume
from tfseg.volume import Volume

Make = Callable[..., Path]


def test_a_clean_set(make_msd: Make) -> None:
    root = make_msd(training=[{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}])
    image = Volume.from_geometry(np.arange(24, dtype=np.int16).reshape(2, 3, 4), (10, 5, 2))
    label = np.zeros((2, 3, 4), np.uint8)
    label[0, 0, :3] = 1
    write_volume(image, root / "imagesTr/a.nii.gz")
    write_volume(image.with_array(label), root / "labelsTr/a.nii.gz")
    report = check_dataset(open_dataset(root))
    assert report.problems == ()
    summary = report.summary
    assert summary["cases"] == {"training": 1, "labelled": 1, "test": 1, "readable": 2}
    assert summary["shape"] == {"min": [2, 2, 2], "median": [2, 2.5, 3], "max": [2, 3, 4]}
    assert summary["spacing_mm"]["max"] == [10, 5, 2]
    # The test image holds 0 to 7; a mean of the cases' means.
    assert summary["intensity"] == [
        {"channel": "CT", "min": 0, "mean": (11.5 + 3.5) / 2, "max": 23}
    ]
    organ = summary["labels"][1]
    assert organ["cases"] == 1
    assert organ["mean_voxels"] == 3
    assert organ["mean_ml"] == pytest.approx(3 * 10 * 5 * 2 / 1000)
    assert organ["share"] == pytest.approx(3 / 24)
    assert summary["remarks"] == [
        "dataset.json: numTraining says 3; 1 cases are listed.",
        "files that no case uses: imagesTr/b.nii.gz, imagesTr/c.nii.gz, labelsTr/b.nii.gz and 1 "
        "more.",
    ]


@pytest.mark.parametrize(
    ("name", "array", "kind", "message"),
    [
        ("imagesTr/a", None, "missing", "the file is missing"),
        ("labelsTr/a", None, "missing", "the file is missing"),
        ("imagesTr/a", np.full((4, 5, 6), np.inf), "image", "NaN or infinite"),
        ("imagesTr/a", np.full((4, 5, 6), np.nan), "image", "NaN or infinite"),
        ("imagesTr/a", np.full((4, 5, 6), 7), "constant", "every voxel of channel CT is 7"),
        ("imagesTr/a", np.zeros((4, 5, 6, 2)), "image", "the image has 2"),
        ("labelsTr/a", np.full((4, 5, 6), 3), "label", "it has 3 in 120 voxels"),
        ("labelsTr/a", np.full((4, 5, 6), 0.5), "label", "it has 0.5 in 120 voxels"),
        ("labelsTr/a", np.zeros((4, 5, 6, 2)), "label", "a label map has 1 channel"),
        ("labelsTr/a", np.ones((4, 5, 7)), "grid", "must lie on one grid"),
    ],
)
def test_each_kind_of_problem(
    make_msd: Make, name: str, array: np.ndarray | None, kind: str, message: str
) -> None:
    root = make_msd()
    path = root / f"{name}.nii.gz"
    if array is None:
        path.unlink()
    else:
        write_volume(Volume.from_geometry(array.astype(np.float32)), path)
    problems = check_dataset(open_dataset(root)).problems
    assert [(problem.case, problem.kind) for problem in problems] == [("a", kind)]
    assert message in problems[0].message
    assert "\n" not in problems[0].message


def test_one_label_of_two_images_is_said(make_msd: Make) -> None:
    root = make_msd()
    label = np.zeros((4, 5, 6), np.uint8)
    label[1, 2, 3] = 1
    for name in ("a", "b"):
        write_volume(Volume.from_geometry(label), root / f"labelsTr/{name}.nii.gz")
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        image = random.random((4, 5, 6)).astype(np.float32)
        write_volume(Volume.from_geometry(image), root / f"imagesTr/{name}.nii.gz")
    report = check_dataset(open_dataset(root))
    assert report.problems == ()
    assert any("a, b have the same label map" in one for one in report.summary["remarks"])


def test_the_same_image_under_two_names(make_msd: Make) -> None:
    root = make_msd()
    for folder in ("imagesTr", "labelsTr"):
        (root / folder / "c.nii.gz").write_bytes((root / folder / "a.nii.gz").read_bytes())
    problems = check_dataset(open_dataset(root)).problems
    assert [(problem.case, problem.kind) for problem in problems] == [("c", "duplicate")]
    assert "those of case a" in problems[0].message


def test_the_same_voxels_in_training_and_test_set(make_msd: Make) -> None:
    root = make_msd()
    image = read_volume(root / "imagesTr/b.nii.gz")
    # Under another name, in another type, with another header.
    copy = Volume.from_geometry(image.array.astype(np.float32), (2, 1, 1))
    write_volume(copy, root / "imagesTs/t.nii.gz")
    problems = check_dataset(open_dataset(root)).problems
    assert [(problem.case, problem.kind) for problem in problems] == [("t", "duplicate")]
    assert "those of case b" in problems[0].message


def test_a_training_case_without_a_label(make_msd: Make) -> None:
    report = check_dataset(open_dataset(make_msd(training=[{"image": "imagesTr/a.nii.gz"}])))
    assert [problem.kind for problem in report.problems] == ["missing"]


def test_every_problem_is_found_in_one_go(make_msd: Make) -> None:
    root = make_msd()
    (root / "imagesTr/a.nii.gz").write_bytes(b"")
    (root / "labelsTr/b.nii.gz").write_bytes(b"no image")
    (root / "imagesTr/c.nii.gz").unlink()
    report = check_dataset(open_dataset(root))
    assert [(problem.case, problem.kind) for problem in report.problems] == [
        ("a", "image"),
        ("b", "label"),
        ("c", "missing"),
    ]
    assert report.summary["cases"]["readable"] == 2


def two_masks(root: Path, apart_mm: float) -> None:
    """One case with a mask for each of two structures, the second one's header off."""
    image = Volume.from_geometry(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    for number, moved in enumerate((0.0, apart_mm)):
        mask = Volume.from_geometry(
            (np.indices(image.shape)[2] == number).astype(np.uint8), origin_mm=(moved, 0, 0)
        )
        write_volume(
            mask, root / f"derivatives/labels/sub-01/anat/sub-01_T1w_label-{number}_mask.nii.gz"
        )
    write_volume(image, root / "sub-01/anat/sub-01_T1w.nii.gz")


def test_a_rounded_header_of_one_mask_of_several_is_corrected(tmp_path: Path) -> None:
    two_masks(tmp_path, 0.05)
    dataset = open_dataset(tmp_path)
    (problem,) = check_dataset(dataset).problems
    assert problem.kind == "rounding"
    assert (
        "label-1_mask.nii.gz and the image lie 0.05 mm apart, a part of a voxel" in problem.message
    )
    assert check_dataset(dataset, fix=True).fixed == ("sub-01_T1w",)
    assert check_dataset(dataset).problems == ()
    assert dataset.load(dataset.labelled[0])[1].array[0, 0].tolist() == [1, 2, 0, 0, 0]


def test_a_mended_label_has_its_images_fields(make_msd: Make) -> None:
    root = make_msd()
    image, label = (nib.load(root / f"{folder}Tr/a.nii.gz") for folder in ("images", "labels"))
    image.set_sform(image.affine, 4)
    image.set_qform(image.affine, 3)
    nib.save(image, root / "imagesTr/a.nii.gz")
    label.set_sform(image.affine + 0.03 * np.outer([1, 0, 0, 0], [0, 0, 0, 1]), 1)
    nib.save(label, root / "labelsTr/a.nii.gz")
    assert check_dataset(open_dataset(root), fix=True).fixed == ("a",)
    mended = nib.load(root / "labelsTr/a.nii.gz").header
    assert (mended["sform_code"], mended["qform_code"]) == (4, 3)
    assert np.array_equal(mended.get_sform(), image.header.get_sform())
    assert np.array_equal(mended.get_qform(), image.header.get_qform())


@pytest.mark.parametrize("which", ["image", "label"])
def test_a_pair_that_agrees_by_the_qform_alone_is_not_to_be_resampled(
    make_msd: Make, which: str
) -> None:
    root = make_msd()
    path = root / f"{which}sTr/a.nii.gz"
    volume = nib.load(path)
    volume.set_qform(volume.affine, 1)
    volume.set_sform(volume.affine + 50 * np.outer([0, 0, 1, 0], [0, 0, 0, 1]), 2)
    nib.save(volume, path)
    problem, *_ = check_dataset(open_dataset(root)).problems
    assert f"by the qform of the {which}, but not by its sform" in problem.message
    assert "50 mm apart. Find out which of the two is right" in problem.message


def test_a_mask_that_is_elsewhere_is_not(tmp_path: Path) -> None:
    two_masks(tmp_path, 0.4)
    report = check_dataset(open_dataset(tmp_path), fix=True)
    assert [problem.kind for problem in report.problems] == ["label"]
    assert "up to 0.4 mm apart. Resample it." in report.problems[0].message
    assert report.fixed == ()


def test_cases_without_a_finding_are_counted(make_msd: Make) -> None:
    root = make_msd()
    empty = read_volume(root / "labelsTr/a.nii.gz")
    empty = empty.with_array(np.zeros(empty.shape, np.uint8))
    write_volume(empty, root / "labelsTr/a.nii.gz")
    report = check_dataset(open_dataset(root))
    assert report.problems == ()
    remark = "1 of 3 label maps have no foreground and count as cases without a finding: a."
    assert remark in report.summary["remarks"]
    for name in ("b", "c"):
        write_volume(empty, root / f"labelsTr/{name}.nii.gz")
    (problem,) = check_dataset(open_dataset(root)).problems
    assert problem.kind == "foreground"
    assert "none of 3 label maps has any foreground" in problem.message
