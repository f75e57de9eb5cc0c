"""Outputs that are taken or cannot be written are told before the work, by every command."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tfseg.cli.main import run

# command -> its arguments, and a file that it would make below OUT. What it works on is missing or
# no server answers: a message about OUT shows that OUT was looked at first.
COMMANDS = {
    "plan": (["plan", "{t}/gone", "-o", "{out}/plan.json"], "plan.json"),
    "predict": (["predict", "{t}/gone", "{t}/scan.nii", "-o", "{out}/a.nii.gz"], "a.nii.gz"),
    "probabilities": (
        ["predict", "{t}/gone", "{t}/scan.nii", "-o", "{out}", "--save-probabilities"],
        "scan.npz",
    ),
    "report": (
        [
            *("predict", "{t}/gone", "{t}/scan.nii", "-o", "{out}/a.dcm"),
            *("--format", "dicom-seg", "--report"),
        ],
        "a_report.dcm",
    ),
    "query": (
        ["query", "{t}/scan.nii", "-o", "{out}", "--url", "http://localhost:1", "--name", "m"],
        "scan.nii.gz",
    ),
    "evaluate": (["evaluate", "{t}/gone", "-o", "{out}"], "cases.csv"),
    "import-dicom": (["import-dicom", "{t}/gone", "{out}"], "a"),
    "phantom": (["phantom", "{out}"], "a"),
    "example": (["phantom", "{out}", "--layout", "nnunet"], "a"),
    "export": (["export", "{t}/gone", "--format", "savedmodel", "-o", "{out}"], None),
}


def call(name: str, tmp_path: Path, out: Path, *more: str) -> int:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "scan.nii")
    words = [*COMMANDS[name][0], *more]
    return run([word.format(t=tmp_path, out=out) for word in words])


@pytest.mark.parametrize("name", [name for name, (_, file) in COMMANDS.items() if file])
def test_bad_input_the_output_exists(name, tmp_path, capsys):
    taken = tmp_path / "out" / str(COMMANDS[name][1])
    taken.parent.mkdir()
    taken.write_text("edited by hand")
    assert call(name, tmp_path, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "must be new or empty" in error or f"{taken} exists; results replace nothing" in error
    assert [path.name for path in taken.parent.iterdir()] == [taken.name]
    assert taken.read_text() == "edited by hand"
    if "--overwrite" in error:
        assert call(name, tmp_path, tmp_path / "out", "--overwrite") == 2
        assert "exists" not in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("place", ["file", "system"])
def test_bad_input_the_output_cannot_be_written(name, place, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    # Linux takes no file there, not from root either.
    out = tmp_path / "file" / "out" if place == "file" else Path("/proc/tfseg/out")
    assert call(name, tmp_path, out) == 2
    error = capsys.readouterr().err
    assert "cannot write" in error
    assert str(out.parent) in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "scan.nii"]


def test_several_that_exist_are_counted(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    for name in ("metrics.json", "summary.csv", "evaluation.html"):
        (tmp_path / "out" / name).touch()
    assert call("evaluate", tmp_path, tmp_path / "out") == 2
    assert "metrics.json exists, and so do 2 others" in capsys.readouterr().err
