"""``tfseg phantom`` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfseg.cli.main import run
from tfseg.datasets import open_dataset


def test_default_kind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    assert run(["phantom", str(out), "--cases", "1", "--dicom", "--seed", "3"]) == 0
    printed = capfd.readouterr()
    assert "1 training cases and 2 test cases of ct-abdomen, seed 3" in printed.out
    assert printed.err == ""  # a progress bar is for terminals only
    assert len(open_dataset(out).labelled) == 1
    assert len(list((out / "dicom").iterdir())) == 3


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--kind", "ct-abdomne"], "unknown phantom kind 'ct-abdomne'. Did you mean ct-abdomen"),
        (["--cases", "0"], "--cases must be 1 to 900; got 0"),
        (["--cases", "901"], "--cases must be 1 to 900; got 901"),
        (["--cases", "many"], "'many' is not a valid integer"),
        (["--seed", "-1"], "--seed must not be negative; got -1"),
        (["--kind", "fundus", "--dicom"], "--dicom writes CT series"),
    ],
)
def test_bad_input_options(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], rule: str
) -> None:
    assert run(["phantom", str(tmp_path / "set"), *options]) == 2
    printed = capfd.readouterr()
    assert rule in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_bad_input_folder_in_use(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert run(["phantom", str(tmp_path)]) == 2
    printed = capfd.readouterr()
    assert f"{tmp_path}: the output folder must be new or empty" in printed.err
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
