"""The command ``query``, from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tfseg.cli.main import run

# Oblique, flipped and permuted grids, (x, y, z) index to RAS mm.
AFFINES = {
    "plain": np.diag([-0.7, -0.7, 5, 1.0]),
    "flipped": np.array([[0.9, 0, 0, -3], [0, 0.8, 0, 4], [0, 0, -2.5, 7], [0, 0, 0, 1.0]]),
    "permuted": np.array([[0, 0, 1.5, 1], [0.8, 0, 0, 2], [0, -0.9, 0, 3], [0, 0, 0, 1.0]]),
    "oblique": np.array(
        [[-0.66, 0.1, 0.9, 10.25], [0.2, -0.69, 0.4, -3.5], [0.05, 0.12, 4.9, 17], [0, 0, 0, 1.0]]
    ),
}


def _write_scan(path: Path, affine: np.ndarray, shape: tuple[int, ...] = (7, 6, 5)) -> np.ndarray:
    """Write an int16 scan; return its voxels in (x, y, z)."""
    voxels = np.random.default_rng(5).integers(0, 300, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return voxels


def _expected(voxels: np.ndarray) -> np.ndarray:
    return (voxels > 100).astype(np.uint8) + (voxels > 200)


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
@pytest.mark.parametrize("name", AFFINES)
def test_query_writes_labels_on_the_scans_own_grid(
    zoo, tmp_path: Path, name: str, transport: str
) -> None:
    scan, out = tmp_path / "scan.nii.gz", tmp_path / "seg.nii.gz"
    voxels = _write_scan(scan, AFFINES[name])
    url = getattr(zoo, transport)
    assert run(["query", str(scan), "-o", str(out), "--url", url, "--name", "zoo"]) == 0
    labels = nib.load(out)
    np.testing.assert_array_equal(labels.affine, nib.load(scan).affine)
    np.testing.assert_array_equal(np.asarray(labels.dataobj), _expected(voxels))
    assert labels.get_data_dtype() == np.uint8


def test_query_of_several_scans_as_json(zoo, tmp_path: Path, capsys) -> None:
    scans = [tmp_path / "a.nii.gz", tmp_path / "b.nii"]
    for scan in scans:
        _write_scan(scan, AFFINES["plain"])
    out = tmp_path / "out"
    arguments = ["query", *map(str, scans), "-o", str(out), "--url", zoo.grpc_url]
    assert run([*arguments, "--name", "zoo", "--version", "1", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [one["output"] for one in document["written"]] == [
        str(out / "a.nii.gz"),
        str(out / "b.nii.gz"),
    ]
    assert all([each["value"] for each in one["labels"]] == [1, 2] for one in document["written"])
    assert captured.err == ""
    assert sorted(path.name for path in out.iterdir()) == ["a.nii.gz", "b.nii.gz"]


# Runs with TensorFlow out of reach, as where it is not installed.
WITHOUT_TENSORFLOW = """
import sys

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tensorflow", "keras", "tensorflow_serving", "tensorboard"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTensorFlow())
import tfseg_serving
from tfseg.cli.main import run
assert tfseg_serving.Client.__name__ == "Client"
assert run(["query", "--help"]) == 0
assert run(sys.argv[1:]) == 0
"""


def test_query_where_there_is_no_tensorflow(zoo, tmp_path: Path) -> None:
    scan, out = tmp_path / "scan.nii.gz", tmp_path / "seg.nii.gz"
    voxels = _write_scan(scan, AFFINES["plain"])
    arguments = ["query", str(scan), "-o", str(out), "--url", zoo.grpc_url, "--name", "zoo"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.asarray(nib.load(out).dataobj), _expected(voxels))


def test_labels_are_counted(zoo, tmp_path: Path, capsys) -> None:
    scan = tmp_path / "scan.nii.gz"
    counts = np.bincount(_expected(_write_scan(scan, AFFINES["plain"])).ravel())
    arguments = ["query", str(scan), "-o", str(tmp_path / "out"), "--url", zoo.grpc_url]
    assert run([*arguments, "--name", "zoo"]) == 0
    rows = [line.split("│")[1:4] for line in capsys.readouterr().out.splitlines() if "│" in line]
    voxel_ml = 0.7 * 0.7 * 5 / 1000
    assert [[cell.strip() for cell in row] for row in rows] == [
        [str(value), str(counts[value]), f"{counts[value] * voxel_ml:.3f}"] for value in (1, 2)
    ]
    assert run([*arguments, "--name", "zoo", "--json", "--overwrite"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["signature"] == "segment"
    assert document["version"] == 1
    assert document["failed"] == []
    assert document["written"][0]["labels"] == [
        {
            "value": value,
            "name": None,
            "voxels": int(counts[value]),
            "ml": pytest.approx(counts[value] * voxel_ml, abs=5e-4),
        }
        for value in (1, 2)
    ]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_one_bad_scan_does_not_end_the_others(zoo, tmp_path: Path, capsys, jobs: str) -> None:
    scans = [tmp_path / f"{name}.nii.gz" for name in "abcd"]
    for scan in scans:
        _write_scan(scan, AFFINES["plain"])
    scans[1].write_bytes(b"no NIfTI")
    out = tmp_path / "out"
    arguments = [*map(str, scans), "-o", str(out), "--url", zoo.grpc_url, "--name", "zoo"]
    assert run(["query", *arguments, "--jobs", jobs, "--json"]) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [Path(one["input"]).name[0] for one in document["written"]] == ["a", "c", "d"]
    assert document["failed"] == [str(scans[1])]
    first, last = captured.err.splitlines()
    assert first.startswith(f"tfseg: {scans[1]}: ")
    assert last == "tfseg: 1 of 4 scans could not be segmented."
    assert sorted(path.name[0] for path in out.iterdir()) == ["a", "c", "d"]


# --- bad input


def _check(capsys, arguments: list[str], rule: str, value: str) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("tfseg: ")
    assert rule in lines[0]
    assert value in lines[0]
    assert captured.out == ""


QUERIES: dict[str, tuple[dict, str, str]] = {
    "url": ({"--url": "localhost:8500"}, "URL must be grpc://HOST:PORT", "localhost:8500"),
    "server down": (
        {"--url": "grpc://127.0.0.1:1", "--retries": "0"},
        "no server answers",
        "127.0.0.1:1",
    ),
    "server down, REST": (
        {"--url": "http://127.0.0.1:1", "--retries": "0"},
        "no server answers",
        "127.0.0.1:1",
    ),
    "unknown model": ({"--name": "other"}, "is not served", "'other'"),
    "unknown version": ({"--version": "77"}, "is not served", "version 77"),
    "no segment": ({"--name": "scale"}, "has no signature 'segment'", "serving_default"),
    "timeout": ({"--timeout": "-1"}, "0.001<=x<=86400", "-1"),
}


@pytest.mark.parametrize("transport", ["grpc_url", "rest_url"])
@pytest.mark.parametrize("case", QUERIES)
def test_bad_input_of_query(zoo, tmp_path: Path, capsys, case: str, transport: str) -> None:
    changes, rule, value = QUERIES[case]
    scan = tmp_path / "scan.nii.gz"
    _write_scan(scan, AFFINES["plain"])
    options = {
        "--url": getattr(zoo, transport),
        "--name": "zoo",
        "-o": str(tmp_path / "seg.nii.gz"),
    }
    arguments = [part for pair in {**options, **changes}.items() for part in pair]
    _check(capsys, ["query", str(scan), *arguments], rule, value)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_bad_input_two_scans_for_one_file(tmp_path: Path, capsys) -> None:
    scans = [str(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz")]
    for scan in scans:
        _write_scan(Path(scan), AFFINES["plain"])
    arguments = [*scans, "-o", str(tmp_path / "seg.nii.gz")]
    _check(
        capsys,
        ["query", *arguments, "--url", "grpc://h:1", "--name", "m"],
        "one output file takes one scan; 2 were given",
        "seg.nii.gz",
    )


def test_bad_input_two_scans_of_one_name(tmp_path: Path, capsys) -> None:
    scans = [str(tmp_path / name) for name in ("a.nii.gz", "a.nii")]
    for scan in scans:
        _write_scan(Path(scan), AFFINES["plain"])
    arguments = [*scans, "-o", str(tmp_path / "out")]
    _check(
        capsys,
        ["query", *arguments, "--url", "grpc://h:1", "--name", "m"],
        "would both be written to",
        str(tmp_path / "out" / "a.nii.gz"),
    )
    assert not (tmp_path / "out").exists()


def test_bad_input_output_is_some_file(tmp_path: Path, capsys) -> None:
    out = tmp_path / "notes.txt"
    out.write_text("mine")
    arguments = ["query", "a.nii.gz", "-o", str(out), "--url", "grpc://h:1", "--name", "m"]
    _check(capsys, arguments, "-o must be a folder, or a file of a known format", str(out))
    assert out.read_text() == "mine"


@pytest.mark.parametrize("broken", ["absent", "empty", "truncated"])
def test_bad_input_scan(zoo, tmp_path: Path, capsys, broken: str) -> None:
    scan = tmp_path / "scan.nii.gz"
    if broken != "absent":
        _write_scan(scan, AFFINES["plain"], (40, 40, 40))
        content = scan.read_bytes()
        scan.write_bytes(b"" if broken == "empty" else content[: len(content) // 2])
    out = tmp_path / "out"
    arguments = ["query", str(scan), "-o", str(out), "--url", zoo.grpc_url, "--name", "zoo"]
    _check(capsys, arguments, "scan.nii.gz", str(scan))
    assert not out.exists()


def test_bad_input_channels(zoo, tmp_path: Path, capsys) -> None:
    from PIL import Image

    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(photo)
    out = tmp_path / "out"
    arguments = ["query", str(photo), "-o", str(out), "--url", zoo.grpc_url, "--name", "zoo"]
    _check(capsys, arguments, "takes 1 channels; the scan has 3", str(photo))
    assert not out.exists()
