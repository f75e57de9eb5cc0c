"""Training stage after stage: what learns when, also after an interruption."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfseg.config import TrainConfig
from tfseg.errors import ConfigError, TfsegError
from tfseg.models import build, model_config
from tfseg.models.config import Stage
from tfseg.plan import Plan
from tfseg.schemes.base import Task
from tfseg.schemes.stages import TrainedParts, check_epochs
from tfseg.schemes.supervised import Supervised
from tfseg.training import checkpoint, hooks

Command = Callable[..., tuple[int, str, str]]
OPTIONS: dict[str, Any] = {
    "base_filters": 4, "encoder": (1, 1), "decoder": (1,), "norm": "batch",
}  # fmt: skip
WORDS = (
    "--model", "cascaded_vnet", "--set", "dims=2", "--set", "base_filters=4",
    "--set", "encoder=1,1", "--set", "decoder=[1]", "--set", "norm=batch",
    "--set", "patch_size=16,16", "--set", "batch_size=4", "--set", "steps_per_epoch=2",
    "--set", "validation_cases=1", "--set", "validate_every=1",
)  # fmt: skip
STAGES = (Stage("region_", (0.0, 1.0)), Stage("labels_", (1.0, 0.0)))


def two_parts() -> Any:
    """A network with a layer for each stage, one for none, and one that never learns."""
    x = given = keras.Input((4,))
    for name in ("region_a", "region_norm", "labels_a", "other", "region_fixed"):
        make = keras.layers.BatchNormalization if "norm" in name else keras.layers.Dense
        layer = make(name=name) if "norm" in name else make(4, name=name)
        layer.trainable = "fixed" not in name
        x = layer(x)
    return keras.Model(given, x)


def learning(model: Any) -> set[str]:
    return {weight.path.split("/")[0] for weight in model.trainable_weights}


def test_only_the_layers_of_a_stage_learn() -> None:
    model = two_parts()
    parts = TrainedParts(model, STAGES)
    assert parts.switch(0, epoch=0)
    assert learning(model) == {"region_a", "region_norm"}
    assert not parts.switch(0, epoch=1)
    assert parts.switch(1, epoch=2)
    assert learning(model) == {"labels_a"}
    assert parts.loss_weights(1, (7.0,)) == (1.0, 0.0)
    everything = two_parts()
    assert not TrainedParts(everything, ()).switch(0, epoch=0)
    joint = TrainedParts(everything, (Stage("", (1.0, 1.0)),))
    assert joint.switch(0, epoch=0)
    assert learning(everything) == {"region_a", "region_norm", "labels_a", "other"}


@pytest.mark.parametrize(
    ("epoch", "last", "done", "expected"),
    [
        (0, 0, 0.0, 0),
        (2, 0, 0.3, 0),
        (3, 0, 1 / 3, 1),
        (6, 1, 2 / 3, 2),
        (9, 2, 1.0, 2),
        (1, 0, 0.9, 1),  # a long first epoch: none is left out
        (2, 1, 0.2, 1),  # a run that was made longer: none comes back
    ],
)
def test_each_stage_has_an_equal_share(epoch: int, last: int, done: float, expected: int) -> None:
    stages = (*STAGES, Stage("third_", (1.0, 0.0)))
    assert TrainedParts(two_parts(), stages).next_stage(last, epoch, done) == expected


@pytest.mark.parametrize("epochs", range(3, 30))
def test_each_stage_has_an_epoch(epochs: int) -> None:
    parts = TrainedParts(two_parts(), (*STAGES, Stage("third_", (1.0, 0.0))))
    stage, seen = 0, []
    for epoch in range(epochs):
        stage = parts.next_stage(stage, epoch, epoch / epochs)
        seen.append(stage)
    assert set(seen) == {0, 1, 2}
    assert max(seen.count(number) for number in range(3)) <= -(-epochs // 3)


def test_the_learning_rate_falls_in_each_stage() -> None:
    parts = TrainedParts(two_parts(), STAGES)
    assert [parts.stage_progress(0, done) for done in (0, 0.25, 0.5)] == [0, 0.5, 1]
    assert [parts.stage_progress(1, done) for done in (0.5, 0.75, 1)] == [0, 0.5, 1]
    assert TrainedParts(two_parts(), ()).stage_progress(0, 0.3) == 0.3


def test_fewer_epochs_than_stages() -> None:
    check_epochs(STAGES, 2)
    with pytest.raises(ConfigError, match=r"at least 2, one for each .* got 1"):
        check_epochs(STAGES, 1)


def named(state: Path) -> dict[str, np.ndarray]:
    """The network's variables in a checkpoint, by name."""
    model = build("cascaded_vnet", (16, 16, 1), 2, **OPTIONS)
    with np.load(state, allow_pickle=False) as stored:
        return {
            variable.path: stored[f"segmenter/network/{index:04d}"]
            for index, variable in enumerate(model.variables)
        }


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    """Prefixes of the variables that differ."""
    return {name.split("_")[0] for name in before if not np.array_equal(before[name], after[name])}


def history(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Keep the history's folder after each epoch; stop once ``stop_after`` is reached."""
    plan = {"stop_after": 0}
    write, save = hooks.write_history, checkpoint.save

    def keep(path: Path, groups: Any, counters: Any) -> None:
        save(path, groups, counters)
        shutil.copy(path, path.with_name(f"epoch{counters.epoch}.npz"))

    def stop(folder: Path, rows: list[Any]) -> None:
        write(folder, rows)
        if len(rows) == plan["stop_after"]:
            raise TfsegError("stopped here")

    monkeypatch.setattr(checkpoint, "save", keep)
    monkeypatch.setattr(hooks, "write_history", stop)
    return plan


def test_stages_learn_one_after_the_other_also_when_resumed(
    tfseg: Command, balls: Path, tmp_path: Path, snapshots: dict[str, int]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ("train", "--data", balls, *WORDS, "--epochs", 4)
    code, _, err = tfseg(*words, "--run", whole)
    assert code == 0, err
    states = [named(whole / "checkpoints" / f"epoch{number}.npz") for number in range(1, 5)]
    # Statistics, too: batch normalisation's moving averages are among the variables.
    assert changed(states[0], states[1]) == {"region"}
    assert changed(states[1], states[2]) == changed(states[2], states[3]) == {"labels"}
    # The answer means something in the last stage only.
    assert [bool(row["val_dice"]) for row in history(whole)] == [False, False, True, True]
    rates = [float(row["learning_rate"]) for row in history(whole)]
    assert rates[2:] == pytest.approx(rates[:2])

    snapshots["stop_after"] = 3
    assert tfseg(*words, "--run", cut)[0] == 1
    snapshots["stop_after"] = 0
    assert tfseg("train", "--resume", "--run", cut)[0] == 0
    resumed = [float(row["loss"]) for row in history(cut)]
    assert resumed == pytest.approx([float(row["loss"]) for row in history(whole)], rel=1e-5)
    for name, values in named(cut / "checkpoints" / "last.npz").items():
        np.testing.assert_allclose(values, states[-1][name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_time_budget_reaches_every_stage(
    tfseg: Command, balls: Path, tmp_path: Path, snapshots: dict[str, int]
) -> None:
    code, _, err = tfseg(
        "train", "--data", balls, *WORDS, "--run", "r", "--time-budget", "0.01s", "--epochs", 9
    )
    assert code == 0, err
    assert len(history(tmp_path / "r")) == 2
    states = [named(tmp_path / f"r/checkpoints/epoch{number}.npz") for number in (1, 2)]
    assert changed(*states) == {"labels"}
    assert (tmp_path / "r" / "model.keras").exists()


@pytest.mark.parametrize(
    ("model", "words", "expected"),
    [
        (
            "cascaded_vnet",
            ("--epochs", 1),
            "at least 2, one for each of the network's stages; got 1",
        ),
        ("autocontext", ("--set", "stages_count=4", "--epochs", 3), "epochs must be at least 4"),
        ("cfcn", ("--set", "stages=all"), "stages: Input should be 'successive' or 'joint'; got"),
        ("cascaded_vnet", ("--set", "encoder=1,1,1"), "decoder: must have one stage fewer"),
        (
            "cascaded_vnet",
            ("--set", "loss=unet_weighted_ce"),
            "same labels at every training output; got 'unet_weighted_ce'",
        ),
        ("autocontext", ("--set", "stage=unett"), "unknown model 'unett'. Did you mean unet"),
        ("autocontext", ("--set", "stage=cfcn"), "single network; got the cascade 'cfcn'"),
        ("autocontext", ("--set", "stage=vgg16"), "got 'vgg16', a backbone"),
        ("autocontext", ("--set", 'stage_options={"deep":2}'), "unet has no option 'deep'"),
        ("autocontext", ("--set", "stages_count=1"), "stages_count: Input should be greater"),
        ("detect_then_segment", ("--set", "margin=-1"), "margin: Input should be greater"),
        ("unet3d_two_stage", ("--set", "reduction=0"), "reduction: Input should be greater"),
        ("unet3d_two_stage", ("--set", "outside=air"), "outside: Input should be 'coarse'"),
    ],
)
def test_bad_input_of_cascades(
    tfseg: Command, balls: Path, tmp_path: Path, model: str, words: tuple[Any, ...], expected: str
) -> None:
    code, out, err = tfseg("train", "--data", balls, "--model", model, "--run", "r", *words)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert expected in err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--set", "patch_size=20,16"), "must be divisible by (16, 16); got (20, 16)"),
        (
            ("--set", "patch_size=32,32", "--set", "window=12,16"),
            "divisible by (8, 8); got (12, 16)",
        ),
    ],
)
def test_bad_input_of_sizes(
    tfseg: Command, balls: Path, tmp_path: Path, words: tuple[Any, ...], expected: str
) -> None:
    code, out, err = tfseg(
        "train", "--data", balls, "--model", "unet3d_two_stage", "--set", "dims=2",
        "--run", "r", *words,
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert expected in err.strip().splitlines()[-1]
    assert not (tmp_path / "r" / "config.json").exists()


def test_a_loss_must_fit_the_groups_of_labels_too() -> None:
    plan = Plan.model_validate(
        {
            "dims": 2, "spacing_mm": None, "patch_size": (16, 16), "batch_size": 1,
            "channels": [{"name": "image", "normalisation": {"kind": "scale"}}],
            "labels": ("background", "liver", "lesion"),
        }
    )  # fmt: skip

    def check(model: str, loss: str) -> None:
        config = TrainConfig(model=model, data="", loss=loss)
        Supervised.check(Task(config, model_config(model), plan))

    check("cfcn", "dice + ce")
    check("autocontext", "ce(class_weights=[1,2,3])")
    with pytest.raises(ConfigError, match=r"learns 2 groups of labels, too: .*\(2, .*; got 3"):
        check("cfcn", "ce(class_weights=[1,2,3])")
