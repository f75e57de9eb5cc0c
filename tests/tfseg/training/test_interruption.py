"""Runs in processes of their own: killed and resumed, and on several devices."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

_TIMEOUT_S = 240


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tfseg", *map(str, words)]


def _train(run: Path, balls: Path, tiny: tuple[str, ...], *words: object) -> list[str]:
    return _command(
        "train", "--model", "unet", "--data", balls, "--run", run, *tiny,
        "--set", "dropout=0.2", *words,
    )  # fmt: skip


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr


def _history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as handle:
        return list(csv.DictReader(handle))


def _kill_after_epoch(command: list[str], run: Path, epochs: int) -> None:
    """Start a run and kill it with SIGKILL once ``epochs`` rows stand in its history."""
    process = subprocess.Popen(
        command, cwd=run.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + _TIMEOUT_S
        while not (run / "history.csv").exists() or len(_history(run)) < epochs:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _variables(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / "last.npz") as stored:
        return {name: stored[name] for name in stored.files if name != "counters"}


def test_a_killed_run_resumes_to_the_same_bits(
    tmp_path: Path, balls: Path, tiny: tuple[str, ...]
) -> None:
    words = ("--epochs", 6, "--deterministic")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    _run(_train(whole, balls, tiny, *words), tmp_path)
    _kill_after_epoch(_train(cut, balls, tiny, *words), cut, 2)
    assert len(_history(cut)) < 6
    _run(_command("train", "--resume", "--run", cut), tmp_path)

    assert [row["loss"] for row in _history(cut)] == [row["loss"] for row in _history(whole)]
    expected, resumed = _variables(whole), _variables(cut)
    assert expected.keys() == resumed.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(values, resumed[name], err_msg=name)
    assert not list(cut.rglob("*.partial"))


def test_two_replicas_give_the_loss_of_one(
    tmp_path: Path, balls: Path, tiny: tuple[str, ...]
) -> None:
    losses = {}
    for replicas in (1, 2):
        run = tmp_path / f"replicas{replicas}"
        _run(
            _command(
                "train", "--model", "unet", "--data", balls, "--run", run, *tiny,
                "--epochs", 2, "--replicas", replicas,
            ),
            tmp_path,
        )  # fmt: skip
        losses[replicas] = [float(row["loss"]) for row in _history(run)]
    assert losses[1] == pytest.approx(losses[2], rel=1e-5)


def test_bad_input_batch_that_the_devices_cannot_share(tmp_path: Path, balls: Path) -> None:
    done = subprocess.run(
        _command(
            "train", "--model", "unet", "--data", balls, "--run", tmp_path / "r",
            "--set", "patch_size=16,16,16", "--set", "batch_size=3", "--replicas", 2,
        ),
        cwd=tmp_path, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "batch_size must be divisible by the number of devices (2); got 3" in done.stderr
    assert not (tmp_path / "r").exists()
