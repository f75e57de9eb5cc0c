"""``tfseg train`` in this process: what a run leaves, and how it ends."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfseg.artifact import Manifest
from tfseg.models import load_run

Command = Callable[..., tuple[int, str, str]]


def _history(run: str | Path) -> list[dict[str, str]]:
    return list(csv.DictReader((Path(run) / "history.csv").read_text().splitlines()))


def test_a_run_leaves_everything_behind(
    tfseg: Command, balls: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    code, out, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--epochs", 8, "--json",
        "--run", "runs/a", *tiny, "--set", "validate_every=4", "--set", "learning_rate=0.01",
    )  # fmt: skip
    assert code == 0, err
    outcome = json.loads(out)
    assert outcome["training"]["steps"] == 32
    run = tmp_path / "runs" / "a"
    assert (tmp_path / "runs" / "latest").resolve() == run.resolve()
    for name in (
        "config.json", "plan.json", "manifest.json", "history.csv", "patches.png", "metrics.json",
        "model.keras", "checkpoints/last.npz", "report.html",
    ):  # fmt: skip
        assert (run / name).is_file(), name
    assert any((run / "tensorboard").iterdir())
    assert not list(run.rglob("*.partial"))
    rows = _history(run)
    assert [row["epoch"] for row in rows] == [str(number) for number in range(1, 9)]
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    model, manifest = load_run(run)
    assert len(model.outputs) == 1
    assert manifest.metrics["mean_dice"] == outcome["metrics"]["mean_dice"]
    assert "ball_" not in (run / "manifest.json").read_text()  # no case names in artifacts


@pytest.mark.parametrize("model", ["unet", pytest.param("pspnet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dims", [2, 3])
def test_each_network_trains_in_each_rank(
    tfseg: Command, balls: Path, model: str, dims: int
) -> None:
    size = ",".join(["16"] * dims)
    settings = {
        "unet": ["depth=2", f"strides=[[{','.join(['2'] * dims)}]]"],
        "pspnet": ["backbone=resnet18", "output_stride=8", "bins=[1,2]"],
    }[model]
    words = [word for setting in settings for word in ("--set", setting)]
    code, out, err = tfseg(
        "train", "--model", model, "--data", balls, "--epochs", 2, "--json", "--run", "r",
        "--set", f"dims={dims}", "--set", f"patch_size={size}", "--set", "batch_size=2",
        "--set", "base_filters=4", "--set", "steps_per_epoch=2", *words,
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["metrics"]["cases"] == 1
    assert Manifest.load("r", "manifest.json").plan.dims == dims


def test_mixed_precision_trains_in_float16_and_keeps_float32_variables(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    try:
        code, _, err = tfseg(
            "train", "--model", "unet", "--data", balls, "--epochs", 2, "--run", "r",
            *tiny, "--set", "mixed_precision=true",
        )  # fmt: skip
        assert code == 0, err
        model = keras.saving.load_model("r/model.keras", compile=False)
        assert model.get_layer("encoder0_1_conv").compute_dtype == "float16"
        assert model.get_layer("logits0").compute_dtype == "float32"
        assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}
        losses = [float(row["loss"]) for row in _history("r")]
        assert np.isfinite(losses).all()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_a_time_budget_ends_the_run(tfseg: Command, balls: Path, tiny: tuple[str, ...]) -> None:
    code, out, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--time-budget", "2s", "--run", "r",
        "--json", *tiny,
    )  # fmt: skip
    assert code == 0, err
    outcome = json.loads(out)
    assert outcome["training"]["epochs"] >= 1
    assert outcome["training"]["ended"].startswith("the time budget of 2 s")
    assert outcome["metrics"]["mean_dice"] is not None
    rows = _history("r")
    assert float(rows[-1]["learning_rate"]) < 1e-3 or len(rows) == 1


@pytest.mark.parametrize(
    ("words", "epochs"),
    [
        # The first validation is the best; the run ends with the first one too late after it.
        (("--set", "validate_every=1"), 4),
        (("--set", "validate_every=5"), 10),
    ],
)
def test_patience_ends_the_run(
    tfseg: Command,
    balls: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny: tuple[str, ...],
    words: tuple[str, ...],
    epochs: int,
) -> None:
    from tfseg.training import hooks
    from tfseg.training.validation import Validation

    found = Validation.begin(2).add(np.array([[8, 1], [1, 1]]))
    monkeypatch.setattr(hooks.Watch, "validate", lambda self: found)
    code, out, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--epochs", 50, "--run", "r", "--json",
        *tiny, "--set", "patience=3", *words,
    )  # fmt: skip
    assert code == 0, err
    training = json.loads(out)["training"]
    assert training["epochs"] == epochs
    assert training["validation"]["chose"] == "when the run ended"
    assert "held-out cases, which they are among, are no proof" in err


def test_bad_input_patience_without_held_out_cases(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    words = ("--model", "unet", "--data", balls, "--fold", "all", *tiny)
    code, _, err = tfseg("train", *words, "--set", "patience=3")
    assert code == 2
    assert "patience needs held-out cases" in err


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    tfseg: Command, balls: Path, monkeypatch: pytest.MonkeyPatch, tiny: tuple[str, ...]
) -> None:
    import tensorflow as tf

    from tfseg.schemes.supervised import Supervised

    real, calls = Supervised.train_step, []

    def poisoned(self: Supervised, batch: Any) -> dict[str, tf.Tensor]:
        calls.append(1)
        losses = real(self, batch)
        # Traced once, so the poison must be part of the graph: after the second epoch.
        late = self.learners()["segmenter"].optimizer.iterations > 8
        return {"loss": tf.where(late, tf.constant(float("nan")), losses["loss"])}

    monkeypatch.setattr(Supervised, "train_step", poisoned)
    code, _, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--epochs", 9, "--run", "r", *tiny
    )
    assert code == 1
    assert calls
    message = err.strip().splitlines()[-1]
    assert "loss became nan at step 9" in message
    assert "learning_rate=0.0001" in message
    with np.load("r/checkpoints/last.npz") as stored:
        assert json.loads(str(stored["counters"]))["epoch"] == 2


def test_weights_of_another_run_are_the_start(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    command = ("train", "--model", "unet", "--data", balls, "--epochs", 1)
    assert tfseg(*command, "--run", "a", *tiny)[0] == 0
    code, _, err = tfseg(
        *command, "--run", "b", *tiny, "--set", "weights=a", "--set", "learning_rate=1e-9"
    )
    assert code == 0, err
    first, second = (load_run(run)[0].get_weights() for run in ("a", "b"))
    for before, after in zip(first, second, strict=True):
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_deep_supervision_heads_are_trained_and_then_left_out(tfseg: Command, balls: Path) -> None:
    code, _, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--epochs", 1, "--run", "r",
        "--set", "base_filters=4", "--set", "depth=4", "--set", "patch_size=16,16,16",
        "--set", "strides=[[2,2,2],[2,2,2],[1,1,1]]", "--set", "steps_per_epoch=2",
        "--set", "batch_size=2",
    )  # fmt: skip
    assert code == 0, err
    model, _ = load_run("r")
    assert "logits1" not in {layer.name for layer in model.layers}
    with np.load("r/checkpoints/last.npz") as stored:
        saved = len([name for name in stored.files if name.startswith("segmenter/network/")])
    assert saved > len(model.variables)


def test_fold_all_trains_on_every_case_and_measures_none(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    code, out, err = tfseg(
        "train", "--model", "unet", "--data", balls, "--epochs", 1, "--run", "r", "--json",
        "--fold", "all", *tiny,
    )  # fmt: skip
    assert code == 0, err
    outcome = json.loads(out)
    assert (outcome["training"]["cases"], outcome["training"]["held_out_cases"]) == (5, 0)
    assert outcome["metrics"] == {}
    assert Path("r/report.html").is_file()
    assert _history("r")[0]["val_dice"] == ""


def test_a_finished_run_goes_on_when_it_is_given_more_epochs(
    tfseg: Command, balls: Path, tiny: tuple[str, ...]
) -> None:
    command = ("train", "--model", "unet", "--data", balls, "--epochs", 1, "--run", "r", *tiny)
    assert tfseg(*command)[0] == 0
    code, out, err = tfseg("train", "--resume", "--epochs", 3, "--json")
    assert code == 0, err
    assert json.loads(out)["training"]["epochs"] == 3
    assert [row["epoch"] for row in _history("r")] == ["1", "2", "3"]
