"""A run's cases are recognised by what they are, and none that was trained on is held out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfseg.datasets import Dataset, open_dataset
from tfseg.datasets.split import Split, record
from tfseg.errors import DataError
from tfseg.io import write_volume
from tfseg.volume import Volume


def write_case(root: Path, case: str, seed: int, *, label: int = 1):
    image = np.random.default_rng(seed).integers(0, 99, (3, 4, 5)).astype(np.int16)
    write_volume(Volume.from_geometry(image, (1, 1, 1)), root / "images" / f"{case}.nii.gz")
    labels = np.zeros(image.shape, np.uint8)
    labels[0, 0, :label] = 1
    write_volume(Volume.from_geometry(labels, (1, 1, 1)), root / "labels" / f"{case}.nii.gz")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(6):
        write_case(tmp_path / "data", f"c{number}", number)
    return tmp_path / "data"


def split_of(data: Path) -> Split:
    """c0 and c3 are held out, whatever draws folds."""
    cases = {case.id: case for case in open_dataset(data).cases}
    held_out = [cases.pop("c0"), cases.pop("c3")]
    return Split.of(list(cases.values()), held_out)


def rename(data: Path, old: str, new: str) -> None:
    for folder in ("images", "labels"):
        (data / folder / f"{old}.nii.gz").rename(data / folder / f"{new}.nii.gz")


def test_added_cases_are_new_and_change_no_other(data):
    split = split_of(data)
    for number in range(10, 14):
        write_case(data, f"c{number}", number)
    found = split.find(open_dataset(data))
    assert found.ids("held out") == ("c0", "c3")
    assert found.ids("trained on") == ("c1", "c2", "c4", "c5")
    assert found.ids("new") == ("c10", "c11", "c12", "c13")
    assert (found.changed, found.remarks, found.missing_training) == ((), (), ())


def test_names_that_were_exchanged_hide_no_training_case(data):
    split = split_of(data)
    rename(data, "c0", "spare")
    rename(data, "c1", "c0")
    rename(data, "spare", "c1")
    found = split.find(open_dataset(data))
    assert found.roles["c0"] == "trained on"
    assert found.roles["c1"] == "held out"
    assert "c0 is the run's c1 under another name" in found.remarks


def test_missing_changed_and_renamed_cases_are_named(data):
    split = split_of(data)
    rename(data, "c3", "patient_three")
    write_case(data, "c1", 99)  # another image under a training case's name
    write_case(data, "c2", 2, label=3)  # a corrected reference
    for folder in ("images", "labels"):
        (data / folder / "c4.nii.gz").unlink()
    found = split.find(open_dataset(data))
    assert found.roles == {
        "c0": "held out", "c1": "changed", "c2": "trained on", "c5": "trained on",
        "patient_three": "held out",
    }  # fmt: skip
    assert [one.id for one in found.missing_training] == ["c4"]
    assert found.changed == (
        "the image of c1 is not the one that the run began with",
        "the reference of c2 is not the one that the run began with",
    )
    assert found.remarks == ("patient_three is the run's c3 under another name",)


def test_copies_are_said(data):
    shutil.copy(data / "images/c1.nii.gz", data / "images/c0.nii.gz")
    split = split_of(data)
    assert "c0 is held out, and c1, which is trained on, has the same image" in split.doubles()[0]
    for folder in ("images", "labels"):
        shutil.copy(data / folder / "c3.nii.gz", data / folder / "a_copy.nii.gz")
    found = split.find(open_dataset(data))
    assert found.ids("held out") == ("c0", "c3")
    assert found.roles["a_copy"] == "related"
    assert found.remarks == ("a_copy is the run's c3 under another name", *split.doubles())


def test_patients_test_cases_and_labels_of_both_parts_are_said(data):
    cases = [replace(case, group="pq"[n % 2]) for n, case in enumerate(open_dataset(data).cases)]
    split = Split.of(cases[:3], cases[3:5])
    assert split.doubles([cases[5]]) == [
        "cases of one patient are trained on and held out (p, q): what the network says of them is "
        "no proof. Choose another fold, or fold=all."
    ]
    copy = replace(cases[0], id="t", split="test")
    assert (
        "t is a test case, and c0, which is trained on, has the same image"
        in (split.doubles([copy])[0])
    )
    assert split.shared_labels({"c0", "c4"}) == [
        "c0, c4 have the same label, and different images. Give each case its own."
    ]
    assert split.shared_labels({"c0"}) == []


def test_what_the_first_weights_were_trained_on_is_held_out_no_more(data):
    first = split_of(data)
    first.save(data)
    for weights in (data, data / "model.keras"):
        assert Split.behind(str(weights)) == first
    assert Split.behind(None) is Split.behind(str(data / "images")) is None
    write_case(data, "c8", 8)
    cases = {case.id: case for case in open_dataset(data).cases}
    drawn = Split.of([cases["c0"], cases["c1"]], [cases[case] for case in ("c2", "c3", "c8")])
    second = drawn.after(first, same_fold=False)
    assert [one.id for one in second.training] == ["c0", "c1", "c2"]
    assert [one.id for one in second.held_out] == ["c3", "c8"]
    for known in (second, Split.of_digests(second.digests)):
        found = known.find(open_dataset(data))
        assert found.ids("trained on") == ("c0", "c1", "c2", "c4", "c5")
        assert found.ids("held out") == ("c3", "c8")
    third = drawn.after(first, same_fold=True)  # what was held out stays so
    assert [one.id for one in third.held_out] == ["c0", "c3", "c8"]


def test_the_first_weights_part_no_patient(data):
    cases = [replace(case, group=f"p{case.id[1]}") for case in open_dataset(data).cases]
    first = Split.of([cases[0]], [cases[1]])
    again = [replace(cases[2], group="p0"), replace(cases[3], group="p1"), cases[4], cases[5]]
    drawn = Split.of([again[1], again[2]], [again[0], again[3]])
    second = drawn.after(first, same_fold=True)
    assert [one.id for one in second.training] == ["c4", "c2"]
    assert [one.id for one in second.held_out] == ["c3", "c5"]


def test_another_scan_of_a_patient_who_was_trained_on_is_not_new(data):
    def grouped(dataset: Dataset, group: str) -> Dataset:
        cases = tuple(replace(case, group=group + case.id[1]) for case in dataset.cases)
        return replace(dataset, cases=cases)

    cases = grouped(open_dataset(data), "p").cases
    split = Split.of(cases[1:], cases[:1])
    write_case(data, "c10", 10)
    write_case(data, "c90", 90)
    found = split.find(grouped(open_dataset(data), "p"))
    assert (found.roles["c10"], found.roles["c90"]) == ("related", "new")


def test_a_manifest_tells_by_images_alone(data):
    split = split_of(data)
    digests = split.digests
    assert "c0" not in str(digests)
    write_case(data, "c9", 9)
    rename(data, "c1", "x")
    found = Split.of_digests(digests).find(open_dataset(data))
    assert found.ids("held out") == ("c0", "c3")
    assert found.ids("trained on") == ("c2", "c4", "c5", "x")
    assert found.ids("new") == ("c9",)
    assert Split.of_digests({"training": 3}) is None
    assert Split.of_digests(None) is None


@pytest.mark.parametrize("names", [("scan.mhd", "scan.raw"), ("scan.hdr", "scan.img")])
def test_the_digest_of_a_header_is_also_of_the_voxels_beside_it(data, names):
    case = open_dataset(data).cases[0]
    header, voxels = (data / name for name in names)
    header.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementSpacing = 1 1 1\n"
        f"ElementType = MET_UCHAR\nElementDataFile = {voxels.name}\n"
    )
    found = []
    for content in (b"12345678", b"12345679"):
        voxels.write_bytes(content)
        found.append(record(replace(case, image=header)).image)
    assert "" != found[0] != found[1]


def test_a_dicom_folder_has_the_digest_of_its_files_in_any_order(data):
    case = open_dataset(data).cases[0]
    for name, files in (("a", ("1", "2")), ("b", ("2", "1"))):
        (data / name).mkdir()
        for number, content in enumerate(files):
            (data / name / f"{number}.dcm").write_text(content)
    (data / "b/.DS_Store").write_text("x")
    first, second = (record(replace(case, image=data / name)).image for name in "ab")
    assert first == second != ""


def test_bad_input_damaged_split(tmp_path):
    (tmp_path / "split.json").write_text('{"training": [{"id": 3}], "held_out": []}')
    with pytest.raises(DataError, match=r"split\.json does not say which cases were held out"):
        Split.load(tmp_path)
    with pytest.raises(DataError, match=r"split\.json is missing"):
        Split.load(tmp_path / "elsewhere")
