"""README's own commands, run as they stand there."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np

from tfseg.io import read_volume

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_TIMEOUT_S = 300


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_opens_with_the_two_commands_and_they_exist() -> None:
    first = _blocks("sh")[0].split("\n")
    targets = [line.split()[1] for line in first if line.startswith("make ")]
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z]+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_tour_works_as_written(tmp_path: Path) -> None:
    tour = next(block for block in _blocks("sh") if "tfseg phantom" in block)
    rest, grpc = _free_port(), _free_port()
    # Only what would take minutes or collide on a shared machine is replaced.
    for said, done in (
        ("--time-budget 3m", "--epochs 1"),
        ("serve exports/first", f"serve exports/first --rest-port {rest} --grpc-port {grpc}"),
        ("grpc://localhost:8500", f"grpc://localhost:{grpc}"),
        ("http://localhost:8501", f"http://localhost:{rest}"),
    ):
        assert said in tour, said
        tour = tour.replace(said, done)
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for line in tour.splitlines():
            command = line.split("#")[0].split()
            if not command:
                continue
            assert command[0] == "tfseg", line
            words = [sys.executable, "-m", *command]
            if words[-1] == "&":
                servers.append(subprocess.Popen(words[:-1], cwd=tmp_path))
                _wait_until_ready(f"http://localhost:{rest}/v1/models/first")
                continue
            done = subprocess.run(
                words, cwd=tmp_path, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            assert server.wait(timeout=60) == 0
    local = read_volume(tmp_path / "liver.nii.gz")
    for name in ("onnx.nii.gz", "served.nii.gz"):
        other = read_volume(tmp_path / name)
        np.testing.assert_array_equal(other.affine, local.affine)
        assert np.mean(other.array == local.array) > 0.9999, name


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if b"AVAILABLE" in answer.read():
                    return
        except OSError:
            pass
        assert time.monotonic() < end, f"{url} did not become ready"
        time.sleep(0.3)
