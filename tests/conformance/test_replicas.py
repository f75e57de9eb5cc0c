"""What every network promises to several devices: a step of two is a step of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit import NETWORKS, promise

ALWAYS = ("unet", 2)


@pytest.fixture(scope="module")
def ask():
    """Return a function (name, rank) -> what the script answers; one process serves all."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, here / "replicas.py"],
        cwd=here,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # errors are answers
        text=True,
    )

    def answer(name, rank):
        print(name, rank, file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    with process:
        yield answer


@promise("replicas")
@pytest.mark.parametrize(
    ("name", "rank"),
    [
        pytest.param(
            *cell, id="{}-{}d".format(*cell), marks=() if cell == ALWAYS else pytest.mark.slow
        )
        for cell in NETWORKS
    ],
)
def test_two_replicas_take_the_step_of_one(name, rank, ask):
    answer = ask(name, rank)
    assert "error" not in answer
    loss, loss_of_two = answer["loss"]
    assert loss_of_two == pytest.approx(loss, rel=1e-4)
    # Dozens of normalisations in a row amplify what sums in another order differ by.
    gradient, gradient_of_two = answer["gradient"]
    assert gradient_of_two == pytest.approx(gradient, rel=1e-2)
