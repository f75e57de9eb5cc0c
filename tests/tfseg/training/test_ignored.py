"""Voxels that a label map leaves open: in no loss, no Dice and no class, from file to figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfseg.datasets import open_dataset
from tfseg.datasets.base import IGNORED
from tfseg.errors import ConfigError
from tfseg.evaluation.case import evaluate_case
from tfseg.io import write_volume
from tfseg.losses import build_loss, leave_out
from tfseg.pipeline.cache import prepare_cases
from tfseg.plan import Plan
from tfseg.planning import take_fingerprint
from tfseg.volume import Volume

Command = Callable[..., tuple[int, str, str]]
SHAPE = (20, 20, 20)


def write_banded(root: Path, kind: str, band: int) -> Path:
    """Balls in cubes; a band along z is left open, and holds values that nothing else has."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), axis=-1)
    images, labels = ("imagesTr", "labelsTr") if kind == "nnunet" else ("images", "labels")
    ending = "_0000" if kind == "nnunet" else ""
    for number in range(5):
        ball = np.linalg.norm(grid - rng.uniform(8, 12, 3), axis=-1) < 5
        label = ball.astype(np.uint8)
        label[-4:] = band
        image = (rng.normal(0, 20, SHAPE) + 100 * ball).astype(np.int16)
        image[-4:] = 3000
        write_volume(Volume.from_geometry(image), root / images / f"c{number}{ending}.nii.gz")
        write_volume(Volume.from_geometry(label), root / labels / f"c{number}.nii.gz")
    if kind == "nnunet":
        document = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "ball": 1, "ignore": band},
            "file_ending": ".nii.gz",
            "numTraining": 5,
        }
        (root / "dataset.json").write_text(json.dumps(document))
    elif kind == "csv":
        (root / "labels.csv").write_text(f"value,name\n0,background\n1,ball\n{band},Ignore\n")
    return root


@pytest.mark.parametrize(("kind", "band"), [("csv", 255), ("csv", 7), ("nnunet", 2)])
def test_what_is_left_open_is_no_class(tmp_path: Path, kind: str, band: int) -> None:
    dataset = open_dataset(write_banded(tmp_path / "data", kind, band))
    assert dataset.labels == ("background", "ball")
    assert dataset.ignored == band
    image, label = dataset.load(dataset.cases[0])
    assert (label.array[-4:] == IGNORED).all()
    assert set(np.unique(label.array)) == {0, 1, IGNORED}
    # Intensities of the foreground are those of the balls, not of the band.
    assert take_fingerprint(dataset, dataset.cases[:2]).foreground.max() < 300
    inside, region = dataset.counted(label, None)
    assert set(np.unique(inside.array)) == {0, 1}
    prediction = inside.with_array(np.where(label.array == IGNORED, 1, inside.array))
    assert region is not None
    found = evaluate_case(inside, prediction, dataset.labels, mask=region)
    assert found.scores["ball"]["dice"] == 1
    assert image.array.max() == 3000


def test_a_loss_leaves_it_out() -> None:
    labels = np.zeros((1, 4, 4), np.int32)
    labels[:, 1:3, 1:3] = 1
    labels[:, 3] = IGNORED
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
    other = logits.copy()
    other[:, 3] = 50
    loss = build_loss(leave_out("dice + 0.5*ce", IGNORED, (7, IGNORED), 2))
    assert float(loss(labels, logits)) == pytest.approx(float(loss(labels, other)), rel=1e-6)


@pytest.mark.parametrize(
    ("text", "value", "known", "result"),
    [
        ("dice + ce", IGNORED, (7, IGNORED), "dice(ignore_index=255) + ce(ignore_index=255)"),
        ("dice(ignore_index=7)", 255, (7, 255), "dice(ignore_index=255)"),
        ("dice(ignore_index=1)", -1, (), "dice(ignore_index=1)"),
        ("dice", -1, (), "dice"),
    ],
)  # fmt: skip
def test_the_sum_that_is_trained(
    text: str, value: int, known: tuple[int, ...], result: str
) -> None:
    assert leave_out(text, value, known, 2) == result


@pytest.mark.parametrize(
    ("text", "value", "known", "rule"),
    [
        ("dice(ignore_index=255) + ce", -1, (), r"got 255 in dice\(.*name the value `ignore`"),
        ("dice(ignore_index=-1)", -1, (), "must be a label of the data set, 0 to 1"),
        ("dice(ignore_index=1)", 255, (7, 255), "the data set ignores 7, and .* the class 1"),
        ("dice(ignore_index=9)", 255, (7, 255), "got 9"),
    ],
)
def test_a_label_that_is_not_there_cannot_be_ignored(
    text: str, value: int, known: tuple[int, ...], rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule):
        leave_out(text, value, known, 2)


def test_a_run_leaves_it_out(tfseg: Command, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    data = write_banded(tmp_path / "data", "csv", 255)
    words = ("--model", "unet", "--epochs", 6, "--json", *tiny, "--set", "learning_rate=0.01")
    code, out, err = tfseg(
        "train", "--data", data, "--run", "runs/a", *words, "--set", "validate_every=3",
        "--set", "loss=dice(ignore_index=255) + ce",
    )  # fmt: skip
    assert code == 0, err
    assert Plan.load(tmp_path / "runs/a/plan.json").labels == ("background", "ball")
    assert set(json.loads(out)["metrics"]["classes"]) == {"ball"}
    dataset = open_dataset(data)
    plan = Plan.load(tmp_path / "runs/a/plan.json")
    (case,) = prepare_cases(dataset, dataset.cases[:1], plan, tmp_path / "runs/.cache")
    assert (np.asarray(case.label) == IGNORED).mean() == pytest.approx(4 / 20, abs=0.05)
    assert set(case.places) == {1}
    code, _, err = tfseg("evaluate", "runs/a")
    assert code == 0, err
    (data / "labels.csv").unlink()
    code, _, err = tfseg(
        "train", "--data", data, "--run", "runs/b", *words, "--set", "loss=ce(ignore_index=255)"
    )
    assert code == 2
    assert "name the value `ignore` in labels.csv" in err


def test_detectors_are_refused(tfseg: Command, tmp_path: Path) -> None:
    data = write_banded(tmp_path / "data", "csv", 255)
    code, _, err = tfseg("train", "--data", data, "--model", "mask_rcnn", "--run", "r")
    assert code == 2
    assert "what a label map leaves open (`ignore`, 255) might be one" in err
