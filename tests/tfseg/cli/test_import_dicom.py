"""``tfseg import-dicom`` from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tfseg.cli.main import run
from tfseg.datasets.phantom import make_phantom
from tfseg.io import read_volume


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom(tmp_path_factory.mktemp("phantom") / "set", cases=1, dicom=True)


@pytest.fixture
def series(phantom: Path, tmp_path: Path) -> Path:
    """A copy of one phantom's series."""
    return Path(shutil.copytree(phantom / "dicom/abdomen_001", tmp_path / "scan"))


def test_a_tree_of_series(phantom: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["import-dicom", str(phantom), str(out), "--json"]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    manifest = json.loads(printed.out)
    assert manifest == json.loads((out / "manifest.json").read_text())
    assert (manifest["converted"], manifest["refused"]) == (3, 0)
    assert "Phantom" not in printed.out
    wanted = [read_volume(path).canonical()[0] for path in sorted(phantom.glob("images*/*.nii.gz"))]
    found = [read_volume(out / entry["file"]).canonical()[0] for entry in manifest["series"]]
    for volume in wanted:
        assert any(np.array_equal(volume.array, other.array) for other in found)


def test_refusals_are_reported_beside_what_is_converted(
    series: Path, phantom: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantom / "dicom/abdomen_901", series / "more")
    (series / "010.dcm").unlink()
    assert run(["import-dicom", str(series), str(tmp_path / "out")]) == 0
    printed = capfd.readouterr()
    assert "1 series converted, 1 refused" in printed.out
    assert "slices are" in printed.out
    assert printed.err == ""


def edit(folder: Path, **elements: object) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


def missing(folder: Path) -> None:
    (folder / "010.dcm").unlink()


def copied(folder: Path) -> None:
    shutil.copy(folder / "010.dcm", folder / "copy.dcm")


def localizer(folder: Path) -> None:
    edit(folder, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])


def tilted(folder: Path) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, round(y + 0.2 * z, 4), z]
        dataset.save_as(path)


def no_pixels(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-500])


def text(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_text("no DICOM")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (missing, "slices are missing: 1 after slice 9 of"),
        (copied, "every slice must have a place of its own; 1 of"),
        (localizer, "a localizer is no volume"),
        (tilted, "they are tilted by 11.31 degrees"),  # atan(0.2)
        (no_pixels, "the pixels of image 1 cannot be decoded"),
        (text, "holds no DICOM series"),
    ],
)
def test_bad_input_series(
    series: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    rule: str,
) -> None:
    spoil(series)
    assert run(["import-dicom", str(series), str(tmp_path / "out")]) == 2
    printed = capfd.readouterr()
    assert rule in printed.err
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]


def test_bad_input_output_in_use(
    series: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["import-dicom", str(series), str(tmp_path)]) == 2
    printed = capfd.readouterr()
    assert f"{tmp_path}: the output folder must be new or empty" in printed.err
    assert printed.err.count("\n") == 1


def test_bad_input_no_source(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["import-dicom", str(tmp_path / "none"), str(tmp_path / "out")]) == 2
    printed = capfd.readouterr()
    assert "none: there is no such folder" in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_tensorflow_is_imported(series: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from tfseg.cli.main import run; "
        f"code = run(['import-dicom', {str(series)!r}, {str(tmp_path / 'out')!r}]); "
        "sys.exit(code or int('tensorflow' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
