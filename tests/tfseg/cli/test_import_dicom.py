"""``tfseg import-dicom`` from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
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


def test_axes_are_turned_if_asked(series: Path, tmp_path: Path) -> None:
    assert run(["import-dicom", str(series), str(tmp_path / "stored")]) == 0
    assert run(["import-dicom", str(series), str(tmp_path / "out"), "--orientation", "psr"]) == 0
    (entry,) = json.loads((tmp_path / "out/manifest.json").read_text())["series"]
    assert entry["orientation"] == "RSP"  # of array axes z, y, x
    assert entry["decisions"][-1].endswith("to PSR")
    stored, turned = (
        read_volume(next((tmp_path / one).glob("*.nii.gz"))) for one in ("stored", "out")
    )
    assert turned.shape != stored.shape
    np.testing.assert_array_equal(turned.canonical()[0].array, stored.canonical()[0].array)
    np.testing.assert_allclose(
        turned.canonical()[0].affine, stored.canonical()[0].affine, atol=1e-4
    )


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
    assert "1 volumes converted, 1 refused" in printed.out
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


def localizer(folder: Path) -> None:
    edit(folder, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])


def shifted(folder: Path) -> None:
    dataset = pydicom.dcmread(folder / "010.dcm")
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x + 30, y, z]
    dataset.save_as(folder / "010.dcm")


def steep(folder: Path) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, round(y + 2 * z, 4), z]
        dataset.save_as(path)


def two_sizes(folder: Path) -> None:
    dataset = pydicom.dcmread(folder / "010.dcm")
    dataset.Rows, dataset.Columns = dataset.Rows // 2, dataset.Columns * 2
    dataset.save_as(folder / "010.dcm")


def nowhere(folder: Path) -> None:
    edit(folder, ImagePositionPatient=None)


def colour(folder: Path) -> None:
    edit(folder, SamplesPerPixel=3, PhotometricInterpretation="RGB")


def frames(folder: Path) -> None:
    edit(folder, NumberOfFrames=4)


def flat(folder: Path) -> None:
    edit(folder, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])


def no_slope(folder: Path) -> None:
    edit(folder, RescaleSlope=0)


def cut(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:150])


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
        (localizer, "a localizer is no volume"),
        (shifted, "slice positions must lie on one line; one is 30 mm away"),
        (steep, "tilted by at most 45 degrees; these are by 63.4"),  # atan(2)
        (two_sizes, "slices must have one size; image"),
        (nowhere, "every slice needs ImagePositionPatient; image 1 has none"),
        (colour, "pixels must be gray; image 1 has 3 samples a pixel (RGB)"),
        (frames, "image 1 holds 4 frames and nothing says where they lie (modality CT)"),
        (
            flat,
            "must be two unit vectors at right angles and PixelSpacing positive; got 1\\0\\0\\1",
        ),
        (no_slope, "the slope not 0; image 1 has 0 and"),
        (cut, "holds no DICOM series (0 other files"),
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
    assert "none: there is no such file or folder" in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("scan.zip", b"PK\x05\x06" + bytes(18), "holds no DICOM series (0 other files"),
        ("scan.zip", b"PK\x03\x04 cut off", "holds no DICOM series (1 other files"),
        ("scan.dcm", b"text", "holds no DICOM series (1 other files"),
        ("scan.dcm", bytes(128) + b"DICM", "holds no DICOM series (0 other files, 1 damaged"),
    ],
)
def test_bad_input_single_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, rule: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert run(["import-dicom", str(tmp_path / name), str(tmp_path / "out")]) == 2
    printed = capfd.readouterr()
    assert rule in printed.err
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_bad_input_a_zip_that_grows_out_of_proportion(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    whole = (tmp_path / "bomb.zip").read_bytes()
    # The directory at the end says how much it unpacks to: 3 GiB instead of 1 MiB.
    at = whole.rindex((1 << 20).to_bytes(4, "little"))
    (tmp_path / "bomb.zip").write_bytes(
        whole[:at] + (3 << 30).to_bytes(4, "little") + whole[at + 4 :]
    )
    assert run(["import-dicom", str(tmp_path / "bomb.zip"), str(tmp_path / "out")]) == 2
    printed = capfd.readouterr()
    assert "this one holds 1 files of 3221225472 bytes" in printed.err
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.zip"]


def test_bad_input_unknown_pet_unit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["import-dicom", "a", "b", "--pet", "lean"]) == 2
    printed = capfd.readouterr()
    assert "'lean' is not one of 'suv', 'stored'" in printed.err
    assert printed.err.count("\n") == 1


def test_a_zip_gives_what_its_folder_gives(series: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for path in series.iterdir():
            archive.write(path, f"deep/er/{path.name}")
    assert run(["import-dicom", str(tmp_path / "scan.zip"), str(tmp_path / "a")]) == 0
    assert run(["import-dicom", str(series), str(tmp_path / "b")]) == 0
    first, second = (json.loads((tmp_path / out / "manifest.json").read_text()) for out in "ab")
    assert first == second
    name = first["series"][0]["file"]
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_gaps_when_allowed_and_damaged_files(
    series: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = (series / "010.dcm").read_bytes()
    (series / "010.dcm").write_bytes(whole[:150])
    out = tmp_path / "out"
    assert run(["import-dicom", str(series), str(out), "--allow-gaps", "--json"]) == 0
    printed = capfd.readouterr()
    assert printed.err.startswith("skipped damaged file 010.dcm: the DICOM header is")
    manifest = json.loads(printed.out)
    (entry,) = manifest["series"]
    assert entry["slices"] == entry["shape"][0] - 1
    assert entry["decisions"][0].startswith("missing slices interpolated as allowed: 1 after slice")
    assert len(manifest["damaged_files"]) == 1
    assert "010" not in printed.out


def test_no_tensorflow_is_imported(series: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from tfseg.cli.main import run; "
        f"code = run(['import-dicom', {str(series)!r}, {str(tmp_path / 'out')!r}]); "
        "sys.exit(code or int('tensorflow' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_capture_in_the_folder_of_a_series_is_left_out(
    series: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shot = pydicom.dcmread(next(path for path in sorted(series.iterdir()) if path.is_file()))
    shot.SOPClassUID, shot.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.99"
    shot.SeriesInstanceUID, shot.SeriesNumber = "1.2.3.9", 99
    del shot.ImagePositionPatient, shot.ImageOrientationPatient
    shot.save_as(series / "shot")
    assert run(["import-dicom", str(series), str(tmp_path / "out"), "--json"]) == 0
    manifest = json.loads(capfd.readouterr().out)
    assert (manifest["converted"], manifest["refused"]) == (1, 1)
    (left,) = (entry for entry in manifest["series"] if not entry["file"])
    assert (left["number"], left["slices"]) == (99, 1)
    assert "secondary capture without a place" in left["reason"]
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 1
