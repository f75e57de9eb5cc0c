"""A data set that a tiny network learns in seconds, and the command line's exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

TINY = (
    "--set", "base_filters=4", "--set", "depth=2", "--set", "strides=[[2,2,2]]",
    "--set", "patch_size=16,16,16", "--set", "batch_size=2", "--set", "steps_per_epoch=4",
    "--set", "validation_cases=1",
)  # fmt: skip


def write_balls(root: Path, cases: int = 5, label_value: int = 1) -> Path:
    """Write CT-like noise with a bright ball per case, in MSD layout."""
    rng = np.random.default_rng(0)
    entries = []
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), axis=-1)
    for number in range(cases):
        ball = np.linalg.norm(grid - rng.uniform(7, 13, 3), axis=-1) < 5
        image = (rng.normal(0, 20, ball.shape) + 100 * ball).astype(np.int16)
        name = f"ball_{number}.nii.gz"
        affine = np.diag([1.0, 1.0, 1.5, 1.0])
        nib.save(nib.Nifti1Image(image, affine), root / "imagesTr" / name)
        label = (ball * label_value).astype(np.uint8)
        nib.save(nib.Nifti1Image(label, affine), root / "labelsTr" / name)
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    document = {
        "name": "Balls",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "ball"},
        "numTraining": cases,
        "numTest": 0,
        "training": entries,
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The words that make a training command take a second."""
    return TINY


@pytest.fixture(scope="session")
def make_balls() -> Callable[..., Path]:
    """:func:`write_balls`, for tests that spoil a data set."""
    return write_balls


@pytest.fixture(scope="session")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five cases with one ball each."""
    return write_balls(tmp_path_factory.mktemp("balls") / "data")


@pytest.fixture
def tfseg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a tfseg command in an empty folder; returns (exit code, stdout, stderr)."""
    from tfseg.cli.main import run

    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return call
