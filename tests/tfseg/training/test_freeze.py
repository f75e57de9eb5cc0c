"""Freezing: the encoder keeps its weights and statistics for the first epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.models import build

Command = Callable[..., tuple[int, str, str]]
WORDS = (
    "--model", "pspnet", "--set", "base_filters=4", "--set", "norm=batch", "--set", "bins=[1,2]",
    "--set", "patch_size=16,16,16", "--set", "batch_size=2", "--set", "steps_per_epoch=2",
    "--set", "validation_cases=1", "--set", "validate_every=9",
)  # fmt: skip


def network() -> Any:
    """The network that :data:`WORDS` describe."""
    return build("pspnet", (16, 16, 16, 1), 2, base_filters=4, norm="batch", bins=(1, 2))


def state(run: Path) -> dict[str, np.ndarray]:
    """The last state's variables of the network, by name."""
    model = network()
    with np.load(run / "checkpoints" / "last.npz", allow_pickle=False) as stored:
        return {
            variable.path: stored[f"segmenter/network/{index:04d}"]
            for index, variable in enumerate(model.variables)
        }


def changed(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[bool]:
    """Whether variables of the encoder differ: all, none, or some."""
    names = [name for name in one if name.startswith("resnet18_")]
    assert len(names) > 50
    return {not np.array_equal(one[name], other[name]) for name in names}


def test_the_encoder_waits_and_then_learns(tfseg: Command, balls: Path, tmp_path: Path) -> None:
    model = network()
    model.save(tmp_path / "donor.keras")
    donor = {variable.path: variable.numpy() for variable in model.variables}
    words = ("--run", "b", "--epochs", 1, "--set", "weights=donor.keras", "--set", "freeze=1")
    code, _, err = tfseg("train", "--data", balls, *WORDS, *words)
    assert code == 0, err
    assert "layers from donor.keras" in err
    frozen = state(tmp_path / "b")
    head = "logits_coarse/kernel"
    assert changed(donor, frozen) == {False}
    assert not np.array_equal(donor[head], frozen[head])
    assert tfseg("train", "--resume", "--run", "b", "--epochs", 2)[0] == 0
    assert changed(frozen, state(tmp_path / "b")) == {True}


def test_bad_input_nothing_to_freeze(
    tfseg: Command, balls: Path, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    words = ("--model", "unet", *tiny, "--run", "r", "--set", "freeze=1")
    code, out, err = tfseg("train", "--data", balls, *words)
    assert (code, out) == (2, "")
    assert "freeze needs a network with a backbone; unet has none" in err.strip().splitlines()[-1]
    assert not (tmp_path / "r" / "config.json").exists()


def test_bad_input_freeze_is_no_number_of_epochs(tfseg: Command, balls: Path) -> None:
    code, _, err = tfseg("train", "--data", balls, *WORDS, "--set", "freeze=-1")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "freeze" in err
    assert "got -1" in err
