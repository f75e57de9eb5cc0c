"""Data of one's own: tables of spreadsheets, names as disks keep them, odd label maps."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfseg.datasets import open_dataset
from tfseg.datasets.base import Case
from tfseg.datasets.inferred import read_table
from tfseg.errors import ConfigError, DataError
from tfseg.evaluation import open_evaluation
from tfseg.io import write_volume
from tfseg.volume import Volume

RNG = np.random.default_rng(0)
LABEL = np.zeros((4, 5, 6), np.uint8)
LABEL[1:3, 1:3, 1:3] = 1


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume.from_geometry(array), path)


def make_pairs(root: Path, names: list[str], shape: tuple[int, ...] = (4, 5, 6)) -> Path:
    """Images beside labels."""
    for name in names:
        save(root / f"images/{name}.nii.gz", RNG.integers(0, 99, shape).astype(np.int16))
        save(root / f"labels/{name}.nii.gz", np.resize(LABEL, shape))
    return root


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return make_pairs(tmp_path / "data", ["a", "b", "c"])


ROWS = [["id", "image", "label"], *([n, f"images/{n}.nii.gz", f"labels/{n}.nii.gz"] for n in "abc")]


@pytest.mark.parametrize("between", [",", ";", "\t", ", ", " ; "])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_tables_as_spreadsheets_write_them(
    pairs: Path, between: str, mark: bytes, end: str
) -> None:
    text = end.join(between.join(row) for row in ROWS) + end
    (pairs / "cases.csv").write_bytes(mark + text.replace("id", "ID", 1).encode())
    labels = end.join(between.join(row) for row in (["value", "name"], ["0", "rest"], ["1", "x"]))
    (pairs / "labels.csv").write_bytes(mark + labels.encode())
    dataset = open_dataset(pairs)
    assert [case.id for case in dataset.cases] == ["a", "b", "c"]
    assert dataset.labels == ("rest", "x")
    assert dataset.load(dataset.cases[0])[1].array.sum() == LABEL.sum()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("id,image\na,b", r"needs the columns id, image, label; got id, image\."),
        ("id,image,label,ID\na,b,c,d", "the column id is there twice"),
        ("id,image,label\na,b,c,d", "line 2: 4 cells for 3 columns"),
        ('id,image,label\n"a,b,c', "cannot be read as CSV"),
        ("", "needs the columns id, image, label; got none"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(DataError, match=rule):
        read_table(tmp_path / "cases.csv", ("id", "image", "label"))


@pytest.mark.parametrize(
    "name", ["pat1/scan1", "../../evil", "/abs/evil", "..", "a\\b", "a\nb", "", "x" * 300, "\0"]
)
def test_an_id_is_a_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="the id of a case must be usable as a file name") as error:
        Case(name, tmp_path)
    assert "\n" not in str(error.value)


def test_an_id_that_leaves_the_folder_is_refused_in_a_table(pairs: Path) -> None:
    (pairs / "cases.csv").write_text("id,image,label\n../../evil,images/a.nii.gz,labels/a.nii.gz\n")
    with pytest.raises(DataError, match=r"'\.\./\.\./evil' has a separator of folders"):
        open_dataset(pairs)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_may_be_composed_or_not(tmp_path: Path, form: str) -> None:
    root = make_pairs(tmp_path / "data", ["a"])
    names = {"images": unicodedata.normalize("NFC", "é1"), "labels": "e\u03011"}
    if form == "NFD":
        names = {"images": names["labels"], "labels": names["images"]}
    for folder, name in names.items():
        (root / folder / "a.nii.gz").rename(root / folder / f"{name}.nii.gz")
    (case,) = open_dataset(root).cases
    assert case.label is not None
    assert case.label.exists()
    lines = f"id,image,label\nx,images/{names['labels']}.nii.gz,labels/{names['images']}.nii.gz\n"
    (root / "cases.csv").write_text(lines)
    (case,) = open_dataset(root).cases
    assert all(path.exists() for path in case.files)


@pytest.mark.parametrize("thin", [0, 2])
def test_the_rank_is_decided_by_all_cases(tmp_path: Path, thin: int) -> None:
    root = make_pairs(tmp_path / "data", ["a", "b", "c"])
    make_pairs(root, ["abc"[thin]], (1, 5, 6))
    assert open_dataset(root).dims == 3
    remarks = " ".join(open_dataset(root).remarks)
    assert ("a: one slice; others have more, so the data set is taken as 3D" in remarks) is (
        thin == 0
    )
    flat = make_pairs(tmp_path / "flat", ["a", "b"], (1, 5, 6))
    assert open_dataset(flat).dims == 2


@pytest.mark.parametrize(
    ("value", "is_label"),
    [
        (1.0000153, True),
        (1.9999999995, True),
        (0.99999994, True),
        (1.3, False),
        (1.01, False),
        (np.nan, False),
        (np.inf, False),
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_floats_that_are_whole_but_for_rounding_are_labels(
    pairs: Path, value: float, is_label: bool, declared: bool
) -> None:
    for name in "abc":
        save(pairs / f"labels/{name}.nii.gz", LABEL * 2 * 1.0)
    stored = LABEL.astype(np.float64)
    stored[LABEL > 0] = value
    save(pairs / "labels/a.nii.gz", stored)
    if declared:
        (pairs / "labels.csv").write_text("value,name\n0,rest\n1,x\n2,y\n")
    if is_label:
        dataset = open_dataset(pairs)
        label = dataset.read_label(dataset.cases[0]).array
        # Undeclared values become classes in their order: 1 of 0, 1, 2; 1 of 0, 2.
        assert set(np.unique(label)) == {0, round(value) if declared else 1}
        return
    if declared:
        dataset = open_dataset(pairs)
        with pytest.raises(DataError, match=rf"labels/a\.nii\.gz: .* it has {value!r} in 8 voxels"):
            dataset.read_label(dataset.cases[0])
    else:
        with pytest.raises(DataError, match=rf"labels/a\.nii\.gz: .*, e\.g\. {value!r}\. Is it"):
            open_dataset(pairs)


def nnunet(root: Path, ending: str, **document: object) -> Path:
    root.mkdir(exist_ok=True)
    labels = {"background": 0, "v": 1}
    described = {"labels": labels, "numTraining": 2, "file_ending": ending, **document}
    (root / "dataset.json").write_text(json.dumps(described))
    return root


def test_nnunet_colours_in_one_picture(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "d", ".png", channel_names={"0": "R", "1": "G", "2": "B"})
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir()
    picture = RNG.integers(0, 255, (8, 8, 3)).astype(np.uint8)
    for name in ("a", "b"):
        Image.fromarray(picture).save(root / f"imagesTr/{name}_0000.png")
        Image.fromarray((picture[..., 0] > 99).astype(np.uint8)).save(root / f"labelsTr/{name}.png")
    dataset = open_dataset(root)
    image, label = dataset.load(dataset.cases[0])
    assert np.array_equal(image.array[0], picture)
    assert np.array_equal(label.array[0], picture[..., 0] > 99)
    assert dataset.dims == 2


def test_nnunet_of_the_first_version_stores_one_file_a_channel(tmp_path: Path) -> None:
    root = tmp_path / "d"
    entries = []
    for name in ("c_000", "c_001"):
        for channel in (0, 1):
            values = np.full((4, 5, 6), channel, np.int16)
            save(root / f"imagesTr/{name}_{channel:04d}.nii.gz", values)
        save(root / f"labelsTr/{name}.nii.gz", LABEL)
        entries.append({"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"})
    document = {
        "modality": {"0": "T1", "1": "T2"},
        "labels": {"0": "background", "1": "v"},
        "training": entries,
    }
    (root / "dataset.json").write_text(json.dumps(document))
    dataset = open_dataset(root)
    assert [case.id for case in dataset.cases] == ["c_000", "c_001"]
    image, _ = dataset.load(dataset.cases[0])
    assert image.array[..., 0].max() == 0
    assert image.array[..., 1].min() == 1


@pytest.mark.parametrize("make", ["pairs", "nnunet", "msd"])
def test_suffixes_in_capitals(tmp_path: Path, make_msd: Callable[..., Path], make: str) -> None:
    root = make_pairs(tmp_path / "data", ["a", "b", "c"])
    if make == "msd":
        root = make_msd()
    elif make == "nnunet":
        nnunet(root, ".nii.gz", channel_names={"0": "CT"})
        (root / "images").rename(root / "imagesTr")
        (root / "labels").rename(root / "labelsTr")
        for path in list((root / "imagesTr").iterdir()):
            path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    for path in list(root.rglob("*.nii.gz")):
        path.rename(path.with_name(path.name.replace(".nii.gz", ".NII.GZ")))
    dataset = open_dataset(root)
    assert len(dataset.labelled) >= 2
    for case in dataset.labelled:
        dataset.load(case)


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        ("0,rest\n1,liver\n1,tumour\n", "the value 1 is there twice"),
        ("0,rest\n1,organ\n2,organ\n", "two label values are called organ"),
        ("0,rest\n1,\n", "the value 1 has no name"),
        ("-1,other\n0,rest\n1,x\n", "must be 0, the background; it is -1"),
        ("0,ignore\n1,x\n2,y\n", "must be 0, the background; it is 1"),
    ],
)
def test_label_tables_with_two_meanings_are_refused(pairs: Path, labels: str, rule: str) -> None:
    (pairs / "labels.csv").write_text(f"value,name\n{labels}")
    with pytest.raises(DataError, match=rule):
        open_dataset(pairs)


def test_a_value_below_the_background_may_be_ignored_only(pairs: Path) -> None:
    label = LABEL.astype(np.int16)
    label[0] = -1
    for name in "abc":
        save(pairs / f"labels/{name}.nii.gz", label)
    with pytest.raises(DataError, match="the background; it is -1"):
        open_dataset(pairs)
    (pairs / "labels.csv").write_text("value,name\n-1,ignore\n0,rest\n1,x\n")
    dataset = open_dataset(pairs)
    assert dataset.labels == ("rest", "x")
    assert np.unique(dataset.read_label(dataset.cases[0]).array).tolist() == [0, 1, 255]


def test_two_labels_of_one_image_are_refused(pairs: Path) -> None:
    save(pairs / "labels/a_seg.nii.gz", LABEL)
    with pytest.raises(DataError, match="are labels of one image"):
        open_dataset(pairs)


@pytest.mark.parametrize("one", [True, 1.5, [1]])
def test_nnunet_labels_have_one_whole_value_each(tmp_path: Path, one: object) -> None:
    root = nnunet(tmp_path, ".png", channel_names={"0": "R"}, labels={"rest": 0, "x": one})
    with pytest.raises(DataError, match="region" if one == [1] else 'needs "labels"'):
        open_dataset(root)


def test_nnunet_values_are_there_once(tmp_path: Path) -> None:
    labels = {"rest": 0, "x": 1, "y": 1}
    root = nnunet(tmp_path, ".png", channel_names={"0": "R"}, labels=labels)
    with pytest.raises(DataError, match="each value once"):
        open_dataset(root)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_predictions_may_be_named_composed_or_not(tmp_path: Path, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    root = make_pairs(tmp_path / "data", [unicodedata.normalize(form, "é")])
    save(tmp_path / "found" / f"{unicodedata.normalize(other, 'é')}.nii.gz", LABEL)
    evaluation = open_evaluation(tmp_path / "found", root)
    assert len(evaluation.cases) == 1
    assert not evaluation.missing
    assert not evaluation.unmatched


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ("id,image,label,spilt", "there is no column 'spilt'; 'split' is one"),
        ("id,image,label,patients", "there is no column 'patients'; 'patient' is one"),
        ("id,image,label,age", ""),
    ],
)
def test_columns_that_are_not_read(pairs: Path, columns: str, rule: str) -> None:
    rows = [f"{n},images/{n}.nii.gz,labels/{n}.nii.gz,test" for n in "abc"]
    (pairs / "cases.csv").write_text("\n".join([columns, *rows]))
    if rule:
        with pytest.raises(DataError, match=rule):
            open_dataset(pairs)
    else:
        assert "columns of cases.csv that are not read: age." in open_dataset(pairs).remarks


@pytest.mark.parametrize("folds", [("0", "1", ""), ("1", "1", "5")])
def test_folds_of_a_table_are_whole(pairs: Path, folds: tuple[str, ...]) -> None:
    rows = [
        f"{n},images/{n}.nii.gz,labels/{n}.nii.gz,{fold}"
        for n, fold in zip("abc", folds, strict=True)
    ]
    (pairs / "cases.csv").write_text("\n".join(["id,image,label,fold", *rows]))
    if "" in folds:
        with pytest.raises(DataError, match="1 of 3 have none"):
            open_dataset(pairs)
        return
    dataset = open_dataset(pairs)
    assert [case.id for case in dataset.split(5)[1]] == ["c"]
    with pytest.raises(ConfigError, match="--fold 0 must hold out some cases"):
        dataset.split(0)


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("latin-1", "Latin-1 or Windows-1252")],
)
def test_tables_in_another_encoding(pairs: Path, encoding: str, named: str) -> None:
    (pairs / "labels.csv").write_bytes("value,name\n0,rest\n1,Gef\u00e4\u00df\n".encode(encoding))
    with pytest.raises(DataError, match=f"must be text in UTF-8; it is in .*{named}"):
        open_dataset(pairs)


def test_a_fourth_dimension_taken_as_channels_is_said(tmp_path: Path) -> None:
    save(tmp_path / "images/a.nii.gz", RNG.integers(0, 99, (*LABEL.shape, 5)).astype(np.int16))
    save(tmp_path / "labels/a.nii.gz", LABEL)
    assert "a.nii.gz has 5 values a voxel" in str(open_dataset(tmp_path).remarks)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("labelsTr/lost.nii.gz", "there is no image imagesTr/lost_0000.nii.gz of this label"),
        ("imagesTr/a_0001.nii.gz", "declares 1 channels, and this file is one more"),
    ],
)
def test_nnunet_files_of_no_case_are_refused(tmp_path: Path, more: str, said: str) -> None:
    root = nnunet(tmp_path / "d", ".nii.gz", channel_names={"0": "CT"})
    for name in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        save(root / name, LABEL)
    assert [case.id for case in open_dataset(root).cases] == ["a"]
    save(root / more, LABEL)
    with pytest.raises(DataError, match=said):
        open_dataset(root)


def test_nnunet_cases_may_be_listed(tmp_path: Path) -> None:
    entry = {"images": ["in/x_T1.nii.gz", "in/x_T2.nii.gz"], "label": "out/x.nii.gz"}
    both = {"0": "T1", "1": "T2"}
    root = nnunet(tmp_path / "d", ".nii.gz", channel_names=both, dataset={"x": entry})
    for number, name in enumerate([*entry["images"], entry["label"]]):
        save(root / str(name), np.roll(LABEL, number))
    (case,) = open_dataset(root).cases
    image, label = open_dataset(root).load(case)
    assert case.id == "x"
    assert np.array_equal(image.array[..., 1], np.roll(LABEL, 1))
    assert np.array_equal(label.array, np.roll(LABEL, 2))
    for wrong, rule in (
        ({"images": ["in/x_T1.nii.gz"], "label": "out/x.nii.gz"}, "x has 1 images"),
        ({**entry, "label": "../x.nii.gz"}, "must be in the data set's folder"),
        ({"images": entry["images"]}, '"dataset" needs'),
    ):
        nnunet(root, ".nii.gz", channel_names=both, dataset={"x": wrong})
        with pytest.raises(DataError, match=rule):
            open_dataset(root)
