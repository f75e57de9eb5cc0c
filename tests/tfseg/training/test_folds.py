"""Cross-validation: a network for each fold, each case measured by the one that never saw it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from tfseg.datasets import open_dataset
from tfseg.models import load_run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    make_balls: Callable[..., Path],
    tiny: tuple[str, ...],
) -> Path:
    """A folder with data of six cases and a run of two of its folds."""
    from tfseg.cli.main import run

    root = tmp_path_factory.mktemp("folds")
    make_balls(root / "data", cases=6)
    words = ["train", "--model", "unet", "--data", root / "data", "--run", root / "runs/r", *tiny]
    assert run([*map(str, words), "--folds", "0,2", "--epochs", "1"]) == 0
    return root


def document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_the_network_of_the_run_is_the_mean_of_its_folds(trained: Path) -> None:
    run = trained / "runs/r"
    whole, manifest = load_run(run)
    assert manifest.training["folds"] == [0, 2]
    assert manifest.training["mirrored"] == "zyx"  # what --tta averages over
    assert manifest.training["steps"] == 2 * 4
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    members = [load_run(run / f"fold_{fold}")[0] for fold in (0, 2)]
    expected = np.mean([softmax(np.asarray(one(x)), axis=-1) for one in members], axis=0)
    np.testing.assert_allclose(softmax(np.asarray(whole(x)), axis=-1), expected, atol=1e-6)


def test_folds_share_plan_and_volumes_and_hold_out_their_cases(trained: Path) -> None:
    run = trained / "runs/r"
    plans = {(run / place / "plan.json").read_text() for place in (".", "fold_0", "fold_2")}
    assert len(plans) == 1
    assert [path.name for path in trained.rglob(".cache")] == [".cache"]
    assert (trained / "runs/.cache").is_dir()
    dataset = open_dataset(trained / "data")
    for fold in (0, 2):
        held_out = {case.id for case in dataset.split(fold, 0)[1]}
        split = document(run / f"fold_{fold}/split.json")
        assert {one["id"] for one in split["held_out"]} == held_out
        assert document(run / f"fold_{fold}/config.json")["fold"] == fold


def test_each_case_is_measured_by_the_fold_that_held_it_out(trained: Path) -> None:
    run = trained / "runs/r"
    rows = {row["case"]: row for row in document(run / "metrics.json")["per_case"]}
    members: dict[str, Any] = {}
    for fold in (0, 2):
        members |= {
            row["case"]: row for row in document(run / f"fold_{fold}/metrics.json")["per_case"]
        }
    assert rows == members
    assert document(run / "manifest.json")["metrics"]["cases"] == len(rows)
    assert (run / "report.html").is_file()


def test_it_goes_on_where_it_stopped(trained: Path, tmp_path: Path, tfseg: Command) -> None:
    run = tmp_path / "runs/r"
    shutil.copytree(trained / "runs", tmp_path / "runs")
    first = (run / "fold_0/model.keras").read_bytes()
    for name in ("metrics.json", "model.keras"):
        (run / name).unlink()
    shutil.rmtree(run / "fold_2")
    code, out, err = tfseg("train", "--resume", "--run", run, "--json")
    assert code == 0, err
    assert "fold 0 is finished" in err
    assert "fold 2 is finished" not in err
    assert (run / "fold_0/model.keras").read_bytes() == first
    assert json.loads(out)["metrics"]["cases"] == 3
    before, after = (
        load_run(place / "r")[0].get_weights() for place in (trained / "runs", run.parent)
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_new_cases_are_measured_by_the_ensemble(
    trained: Path, tmp_path: Path, tfseg: Command, make_balls: Callable[..., Path]
) -> None:
    other = make_balls(tmp_path / "other", cases=9)
    description = document(other / "dataset.json")
    description |= {"training": description["training"][6:], "numTraining": 3}
    (other / "dataset.json").write_text(json.dumps(description))
    code, out, err = tfseg("evaluate", trained / "runs/r", "--data", other, "--json")
    assert code == 0, err
    assert json.loads(out)["cases"] == 3
    assert {row["role"] for row in json.loads(out)["per_case"]} == {"new"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--folds", "0"), "at least two folds; got '0'"),
        (("--folds", "0,9"), "folds must be `all`, or numbers from 0 to 4"),
        (("--folds", "all", "--fold", "0"), "--fold trains one network, --folds several"),
        (
            ("--folds", "all", "--model", "faster_rcnn"),
            "faster_rcnn answers with objects",
        ),
    ],
)
def test_bad_input_to_folds(
    balls: Path, tfseg: Command, words: tuple[str, ...], expected: str
) -> None:
    model = () if "--model" in words else ("--model", "unet")
    code, _, err = tfseg("train", *model, "--data", balls, "--run", "r", *words)
    assert code == 2
    assert expected in err
    assert not Path("r/config.json").exists()
