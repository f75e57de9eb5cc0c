"""Two processes that train one network: as one at the same batch, and lost ones are told."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

_TIMEOUT_S = 240


def start(folder: Path, *words: object, workers: int) -> list[subprocess.Popen[str]]:
    """Start the processes of a training, the chief first."""
    with socket.create_server(("localhost", 0)) as one, socket.create_server(("", 0)) as other:
        addresses = [f"localhost:{server.getsockname()[1]}" for server in (one, other)]
    found = []
    for index in range(workers):
        environment = dict(os.environ)
        if workers > 1:
            task = {"type": "worker", "index": index}
            document = {"cluster": {"worker": addresses[:workers]}, "task": task}
            environment["TF_CONFIG"] = json.dumps(document)
        found.append(
            subprocess.Popen(
                [sys.executable, "-m", "tfseg", "train", *map(str, words)],
                cwd=folder,
                env=environment,
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        )
    return found


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Wait for processes; return (exit code, what they said) of each."""
    outcomes = []
    for process in processes:
        said = process.communicate(timeout=_TIMEOUT_S)[1]
        outcomes.append((process.returncode, said))
    return outcomes


def losses(run: Path) -> list[float]:
    with (run / "history.csv").open() as handle:
        return [float(row["loss"]) for row in csv.DictReader(handle)]


def variables(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints/last.npz") as stored:
        return {name: stored[name] for name in stored.files if name != "counters"}


def test_two_processes_train_as_one_and_go_on_after_one_is_lost(
    tmp_path: Path, balls: Path, tiny: tuple[str, ...]
) -> None:
    words = ("--model", "unet", "--data", balls, *tiny, "--epochs", 30, "--deterministic")
    alone, whole, cut = tmp_path / "alone", tmp_path / "whole", tmp_path / "cut"
    assert ends(start(tmp_path, *words, "--run", alone, workers=1))[0][0] == 0

    outcomes = ends(start(tmp_path, *words, "--run", whole, workers=2))
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    assert losses(whole)[:3] == pytest.approx(losses(alone)[:3], rel=1e-5)
    assert outcomes[1][1] == ""  # the chief speaks for both

    # One that is killed ends the other with one clear line, ...
    processes = start(tmp_path, *words, "--run", cut, workers=2)
    end = time.monotonic() + _TIMEOUT_S
    while not (cut / "history.csv").exists() or len(losses(cut)) < 2:
        assert processes[0].poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    processes[1].kill()
    (code, said), _ = ends(processes)
    assert code == 1
    assert said.strip().splitlines()[-1] == (
        "tfseg: another process of this training was lost. Start all of them again with --resume."
    )
    assert len(losses(cut)) < 30
    # ... and both go on to the bits of the whole run.
    outcomes = ends(start(tmp_path, "--resume", "--run", cut, workers=2))
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    expected, found = variables(whole), variables(cut)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--folds", "all"), "--folds trains one network after the other in one process"),
        (("--replicas", 2), "replicas must be 0 where several processes train together; got 2"),
    ],
)
def test_bad_input_of_several_processes(
    tmp_path: Path, balls: Path, words: tuple[object, ...], expected: str
) -> None:
    outcomes = ends(start(tmp_path, "--model", "unet", "--data", balls, *words, workers=2))
    for code, said in outcomes:  # before they wait for each other
        assert code == 2
        assert expected in said
