"""Small data sets for tests below."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest


@pytest.fixture
def write_msd(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set in the Decathlon layout with nibabel.

    ``cases`` are (image (z, y, x[, c]), label (z, y, x), spacing_mm (z, y, x)).
    """

    def write(
        cases: list[tuple[np.ndarray, np.ndarray, tuple[float, float, float]]],
        modalities: tuple[str, ...] = ("CT",),
        labels: tuple[str, ...] = ("background", "organ"),
        name: str = "data",
    ) -> Path:
        root = tmp_path / name
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True)
        entries = []
        for number, (image, label, spacing) in enumerate(cases):
            # NIfTI runs x, y, z to Right, Anterior, Superior: this places the axes at L, P, S.
            affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
            for folder, array in (("imagesTr", image), ("labelsTr", label)):
                xyz = array.transpose(2, 1, 0, *range(3, array.ndim))
                file = root / folder / f"case_{number}.nii.gz"
                nibabel.save(nibabel.Nifti1Image(xyz, affine), file)
            entries.append(
                {
                    "image": f"./imagesTr/case_{number}.nii.gz",
                    "label": f"./labelsTr/case_{number}.nii.gz",
                }
            )
        document = {
            "name": "Tiny",
            "modality": {str(index): value for index, value in enumerate(modalities)},
            "labels": {str(value): label for value, label in enumerate(labels)},
            "training": entries,
            "test": [],
        }
        (root / "dataset.json").write_text(json.dumps(document))
        return root

    return write


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
        nibabel.save(nibabel.Nifti1Image(image, affine), root / "imagesTr" / name)
        label = (ball * label_value).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(label, affine), root / "labelsTr" / name)
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
