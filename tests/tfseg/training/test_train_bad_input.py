"""What ``tfseg train`` refuses: one line, the rule, the value, exit code 2, nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model", "unett"], "unknown model 'unett'. Did you mean unet"),
        ([], "needs a network"),
        (["--model", "unet", "--set", "filters"], "must be key=value; got 'filters'"),
        (["--model", "unet", "--set", "epochs=1", "--set", "epochs=2"], "given twice"),
        (["--model", "unet", "--set", "bse_filters=4"], "Did you mean base_filters"),
        (["--model", "unet", "--set", "base_filters=0"], "base_filters: Input should be"),
        (["--model", "pspnet", "--set", "backbone=resnet51"], "backbone"),
        (["--model", "pspnet", "--set", "output_stride=3"], "output_stride"),
        (["--model", "unet", "--fold", "7"], "--fold must be 0 to 4 or all; got 7"),
        (["--model", "unet", "--fold", "first"], "fold"),
        (["--model", "unet", "--time-budget", "soon"], "must be like 90s"),
        (["--model", "unet", "--time-budget", "0m"], "above 0; got '0m'"),
        (["--model", "unet", "--set", "learning_rate=-1"], "learning_rate"),
        (["--model", "unet", "--set", "patch_size=16,16"], "patch_size must have dims=3"),
        (
            [
                "--model",
                "unet",
                "--set",
                "patch_size=15,16,16",
                "--set",
                "depth=2",
                "--set",
                "strides=[[2,2,2]]",
            ],
            "must be divisible by (2, 2, 2); got (15, 16, 16)",
        ),
        (
            [
                *("--model", "unet", "--set", "padding=valid", "--set", "pooling=max"),
                *("--set", "patch_size=20,20,20", "--set", "depth=4"),
                *("--set", "strides=[[2,2,2],[1,1,1],[1,1,1]]", "--set", "base_filters=1"),
            ],
            "an unpadded unet must have its training outputs at full resolution",
        ),
        (["--model", "unet", "--set", "augmentation.flip=q"], "augmentation.flip"),
        (["--model", "unet", "--set", "augmentation=much"], "preset must be one of none, default"),
        (["--model", "unet", "--set", "augmentation.colour=0.5"], "the three channels R, G, B"),
        (["--model", "unet", "--set", "dims=4"], "dims"),
        (["--model", "unet", "--config", "missing.json"], "configuration is missing"),
        (["--model", "unet", "--plan", "missing.json"], "plan is missing"),
        (["--model", "unet", "--set", "weights=nowhere.keras"], "there is no file nowhere.keras"),
        (["--resume"], "there is no run yet"),
    ],
)
def test_bad_input_options(
    tfseg: Command, balls: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    code, out, err = tfseg("train", "--data", balls, *words)
    lines = err.strip().splitlines()
    assert code == 2, err
    assert expected in lines[-1]
    assert out == ""
    runs = [path for path in tmp_path.glob("runs/*") if (path / "model.keras").exists()]
    assert not runs
    assert not list(tmp_path.rglob("*.partial"))


def test_bad_input_data_is_no_folder(tfseg: Command) -> None:
    code, _, err = tfseg("train", "--model", "unet", "--data", "nowhere")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "nowhere: no such folder" in err


def test_bad_input_folder_is_no_data_set(tfseg: Command, tmp_path: Path) -> None:
    (tmp_path / "stuff").mkdir()
    code, _, err = tfseg("train", "--model", "unet", "--data", "stuff")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "no known data set layout" in err


def test_bad_input_no_foreground_anywhere(
    tfseg: Command, tmp_path: Path, tiny: tuple[str, ...], make_balls: Callable[..., Path]
) -> None:
    data = make_balls(tmp_path / "empty", cases=3, label_value=0)
    code, _, err = tfseg("train", "--model", "unet", "--data", data, *tiny)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "foreground" in err


def test_bad_input_label_outside_the_map(
    tfseg: Command, tmp_path: Path, tiny: tuple[str, ...], make_balls: Callable[..., Path]
) -> None:
    data = make_balls(tmp_path / "seven", cases=3, label_value=7)
    code, _, err = tfseg("train", "--model", "unet", "--data", data, *tiny)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "7" in err


def test_bad_input_grids_differ(
    tfseg: Command, balls: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    data = tmp_path / "grids"
    shutil.copytree(balls, data)
    wrong = nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4))
    for label in (data / "labelsTr").iterdir():
        nib.save(wrong, label)
    code, _, err = tfseg("train", "--model", "unet", "--data", data, *tiny)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "must lie on one grid" in err


def test_bad_input_truncated_scan(
    tfseg: Command, balls: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    data = tmp_path / "cut"
    shutil.copytree(balls, data)
    for scan in (data / "imagesTr").iterdir():
        scan.write_bytes(scan.read_bytes()[:200])
    code, _, err = tfseg("train", "--model", "unet", "--data", data, *tiny)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "ball_" in err


def test_bad_input_patch_beyond_memory(tfseg: Command, balls: Path) -> None:
    code, _, err = tfseg(
        "train", "--model", "unet", "--data", balls,
        "--set", "patch_size=2048,2048,2048", "--set", "batch_size=8",
    )  # fmt: skip
    assert code == 2, err
    assert "must fit in memory" in err.strip().splitlines()[-1]
    assert "(2048, 2048, 2048)" in err


def test_bad_input_configuration_is_no_json(tfseg: Command, balls: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{epochs: 3")
    code, _, err = tfseg("train", "--model", "unet", "--data", balls, "--config", "c.json")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "not valid JSON" in err


def test_bad_input_plan_of_another_data_set(tfseg: Command, balls: Path, tmp_path: Path) -> None:
    code, out, _ = tfseg("plan", balls)
    assert code == 0
    plan = json.loads(out)
    plan["labels"] = ["background", "liver"]
    (tmp_path / "p.json").write_text(json.dumps(plan))
    code, _, err = tfseg("train", "--model", "unet", "--data", balls, "--plan", "p.json")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "labels and channels must be the data set's" in err


def test_bad_input_a_run_is_not_overwritten(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    command = ("train", "--model", "unet", "--data", balls, "--run", "r", "--epochs", "1", *tiny)
    assert tfseg(*command)[0] == 0
    code, _, err = tfseg(*command)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "holds a run already" in err
    code, _, err = tfseg("train", "--resume", "--run", "r", "--seed", "5")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "seed cannot change" in err


def test_bad_input_weights_of_another_network(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    assert tfseg(
        "train", "--model", "unet", "--data", balls, "--run", "a", "--epochs", "1", *tiny
    )[0] == 0  # fmt: skip
    code, _, err = tfseg(
        "train", "--model", "pspnet", "--data", balls, "--run", "b", "--epochs", "1",
        "--set", "patch_size=16,16,16", "--set", "base_filters=4", "--set", "weights=a",
    )  # fmt: skip
    assert code == 2
    assert "no layer of" in err.strip().splitlines()[-1]


def test_bad_input_weights_that_know_every_held_out_case(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    command = ("train", "--model", "unet", "--data", balls, "--epochs", "1", *tiny)
    assert tfseg(*command, "--run", "a")[0] == 0
    code, _, err = tfseg(*command, "--run", "b", "--set", "weights=a", "--fold", "1")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "a was trained on every case of fold 1, so none could be held out" in err
    assert not Path("b").exists()
