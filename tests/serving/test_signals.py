"""Signals, whenever they come: `tfseg serve` stops and ends with 0."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os, signal, sys, time
from tests.serving.conftest import FakeServable
from tfseg_serving import rest_front, server

def load(self, folder):
    if {when!r} == "loading":
        send()
        time.sleep(60)
    return FakeServable()

def send():
    for number in {numbers!r}:
        os.kill(os.getpid(), number)

class Front(rest_front.RestFront):
    def start(self):
        if {when!r} == "opening":
            send()
        super().start()

def stop(self, *given):
    if {when!r} == "opening":
        send()
    return stopped(self, *given)

server.Server._load_with_tensorflow = load
stopped, server.Server.stop = server.Server.stop, stop
rest_front.RestFront = Front
if {when!r} == "flags":
    from tfseg_serving.flags import Flags
    Flags.check = lambda self: (send(), time.sleep(60))
from tfseg.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("when", "numbers", "said"),
    [
        ("flags", ["SIGTERM"], "stopped before the server answered."),
        ("loading", ["SIGTERM"], "stopped before the server answered."),
        ("loading", ["SIGINT", "SIGTERM"], "stopped before the server answered."),
        ("opening", ["SIGTERM"], "stopping: requests under way may finish within 30 s"),
        ("opening", ["SIGHUP", "SIGTERM"], "stopping: requests under way may finish within 30 s"),
    ],
)
def test_signals_at_any_time(tmp_path: Path, when: str, numbers: list[str], said: str) -> None:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    program = _PROGRAM.format(when=when, numbers=[int(signal.Signals[one]) for one in numbers])
    # REST alone: TensorFlow, which gRPC's messages need, takes seconds to import.
    command = ["serve", str(folder.parent), "--rest-port", "0", "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.splitlines()) == (0, [said])
