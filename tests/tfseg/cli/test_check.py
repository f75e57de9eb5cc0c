"""``tfseg check`` from the command line: what it prints, and every data set it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.io import read_volume, write_volume
from tfseg.volume import Volume

IMAGE = Volume.from_geometry(np.arange(120, dtype=np.int16).reshape(4, 5, 6), (3, 1, 1))
LABEL = IMAGE.with_array((IMAGE.array > 60).astype(np.uint8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two cases, a and b, without problems."""
    root = tmp_path / "data"
    for offset, name in enumerate("ab"):
        write_volume(IMAGE.with_array(IMAGE.array + offset), root / f"imagesTr/{name}.nii.gz")
        write_volume(LABEL, root / f"labelsTr/{name}.nii.gz")
    describe(root)
    return root


def describe(root: Path, **entries: object) -> None:
    document = {
        "name": "Tiny",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "organ"},
        "training": [
            {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"}
            for name in "ab"
        ],
    }
    (root / "dataset.json").write_text(json.dumps(document | entries))


def test_a_clean_set(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(data)]) == 0
    printed = capfd.readouterr()
    assert "Tiny" in printed.out
    assert "organ" in printed.out
    assert "Problems" not in printed.out
    assert printed.err == ""


def test_json_is_one_document_and_problems_exit_with_2(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(data), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["ok"] is True
    assert document["problems"] == []
    (data / "imagesTr/b.nii.gz").unlink()
    assert run(["check", str(data), "--json"]) == 2
    printed = capfd.readouterr()
    document = json.loads(printed.out)
    assert document["ok"] is False
    assert [(entry["case"], entry["kind"]) for entry in document["problems"]] == [("b", "missing")]
    assert "1 problems in 1 of 2 cases" in printed.err
    assert printed.err.count("\n") == 1


def empty(root: Path) -> None:
    (root / "imagesTr/a.nii.gz").write_bytes(b"")


def cut(root: Path) -> None:
    path = root / "imagesTr/a.nii.gz"
    path.write_bytes(path.read_bytes()[:150])


def no_image(root: Path) -> None:
    (root / "labelsTr/a.nii.gz").write_text("<html>404</html>")


def gone(root: Path) -> None:
    (root / "labelsTr/a.nii.gz").unlink()


def other_grid(root: Path) -> None:
    write_volume(Volume.from_geometry(LABEL.array, (3, 1, 2)), root / "labelsTr/a.nii.gz")


def outside_the_map(root: Path) -> None:
    write_volume(LABEL.with_array(LABEL.array * 7), root / "labelsTr/a.nii.gz")


def two_channels(root: Path) -> None:
    twice = np.stack([IMAGE.array, IMAGE.array], axis=3)
    write_volume(IMAGE.with_array(twice), root / "imagesTr/a.nii.gz")


def nan(root: Path) -> None:
    write_volume(IMAGE.with_array(IMAGE.array * np.float32("nan")), root / "imagesTr/a.nii.gz")


def absurd(root: Path) -> None:
    array = IMAGE.array.astype(np.float64)
    array[0, 0, 0] = -1.797e308
    write_volume(IMAGE.with_array(array), root / "imagesTr/a.nii.gz")


def no_affine(root: Path) -> None:
    import nibabel as nib

    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    image.header["srow_x"], image.header["vox_offset"] = [np.nan, 0, 0, 0], 352
    # The setters of nibabel would repair it; the header is written as it is.
    content = image.header.binaryblock + bytes(4) + bytes(8)
    (root / "imagesTr/a.nii").write_bytes(content)
    describe(root, training=[{"image": "imagesTr/a.nii", "label": "labelsTr/a.nii.gz"}])


def broken_json(root: Path) -> None:
    (root / "dataset.json").write_text('{"training": [')


def escape(root: Path) -> None:
    describe(root, training=[{"image": "../../secret.nii.gz", "label": "labelsTr/a.nii.gz"}])


def twice(root: Path) -> None:
    describe(root, training=[{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}] * 2)


def no_training(root: Path) -> None:
    describe(root, training=None)


def no_description(root: Path) -> None:
    (root / "dataset.json").unlink()
    (root / "labelsTr").rename(root / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (empty, "imagesTr/a.nii.gz: the file is empty"),
        (cut, "imagesTr/a.nii.gz: the gzip data end too early"),
        (no_image, "labelsTr/a.nii.gz: no NIfTI file: it must start with the header size"),
        (gone, "labelsTr/a.nii.gz: the file is missing"),
        (other_grid, "case a: image and label must lie on one grid; the image is (4, 5, 6) at 3 x"),
        (outside_the_map, "label values must be among 0, 1; it has 7 in 59 voxels"),
        (two_channels, "the data set declares 1 channels (CT); the image has 2"),
        (nan, "the image holds NaN or infinite voxels"),
        (absurd, "the image holds voxels of -1.797e+308; an intensity must lie within"),
        (no_affine, "the affine must be 4x4 and finite"),
        (broken_json, "is not valid JSON"),
        (escape, "files must lie inside the data set folder; got '../../secret.nii.gz'"),
        (twice, "case 'a' is listed twice"),
        (no_training, "needs a list 'training' of cases; got None"),
        (no_description, "no known data set layout. Looked for csv, nnunet, msd, "),
    ],
)
def test_bad_input_data(
    data: Path,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    rule: str,
) -> None:
    spoil(data)
    before = sorted(data.rglob("*"))
    assert run(["check", str(data)]) == 2
    printed = capfd.readouterr()
    assert rule in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "rule"), [("none", "no such folder"), ("file", "must be a folder; this is a file")]
)
def test_bad_input_path(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, rule: str
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["check", str(tmp_path / name)]) == 2
    printed = capfd.readouterr()
    assert rule in printed.err
    assert printed.err.count("\n") == 1


def test_no_tensorflow_is_imported(data: Path) -> None:
    code = (
        "import sys; from tfseg.cli.main import run; "
        f"code = run(['check', {str(data)!r}, '--json']); "
        "sys.exit(code or int('tensorflow' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_real_data(real_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(real_data / "lung_ct_3d"), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["cases"]["readable"] == 4
    assert document["shape"]["median"] == [64, 128, 128]


def shift(path: Path, millimetres: float) -> None:
    affine = LABEL.affine.copy()
    affine[0, 3] += millimetres
    write_volume(Volume(LABEL.array, affine), path)


def test_fix_gives_a_rounded_label_its_images_grid(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shift(data / "labelsTr/a.nii.gz", 0.05)
    assert run(["check", str(data)]) == 2
    printed = capfd.readouterr()
    assert "0.05 mm apart" in printed.err
    assert "tfseg check --fix" in printed.err
    assert run(["check", str(data), "--fix", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["ok"], document["fixed"]) == (True, ["a"])
    assert run(["check", str(data)]) == 0
    mended = read_volume(data / "labelsTr/a.nii.gz")
    assert np.array_equal(mended.array, LABEL.array)
    assert np.allclose(mended.affine, IMAGE.affine)


def test_fix_leaves_another_grid_alone(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shift(data / "labelsTr/a.nii.gz", 0.2)
    before = (data / "labelsTr/a.nii.gz").read_bytes()
    assert run(["check", str(data), "--fix"]) == 2
    assert "must lie on one grid" in capfd.readouterr().err
    assert (data / "labelsTr/a.nii.gz").read_bytes() == before


def test_constant_images_and_axes_that_differ_are_named(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flipped = IMAGE.affine.copy()
    flipped[0, 2] *= -1
    write_volume(Volume(np.full_like(IMAGE.array, 7), flipped), data / "imagesTr/b.nii.gz")
    write_volume(Volume(LABEL.array, flipped), data / "labelsTr/b.nii.gz")
    assert run(["check", str(data), "--json"]) == 2
    document = json.loads(capfd.readouterr().out)
    assert [problem["kind"] for problem in document["problems"]] == ["constant"]
    assert "every voxel of channel CT is 7" in document["problems"][0]["message"]
    assert "otherwise in b;" in document["remarks"][0]
