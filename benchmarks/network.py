"""A U-Net's speed: tfseg beside PyTorch, and its exports beside those of plain tf2onnx.

    python benchmarks/network.py [--repeats 3] [--cases inference,training,onnxruntime,openvino]
                                 [--peers-python PATH]

* inference: 5 levels of 32 to 320 channels, instance normalisation, one patch of 96^3;
* training: a step of SGD on Dice + cross-entropy, 16-32-64-128 channels, two patches of 64^3, on
  one thread;
* onnxruntime, openvino: the first network as ``tfseg export`` writes it, and as tf2onnx alone
  writes it with Keras' GroupNormalization for normalisation; and what the two conversions take.

All contenders of a case have the same weights and input; "apart" is the greatest difference of
their answers (of the loss after the steps, in training) to tfseg's. Each runs in processes of
its own, in turns with the others, ``--repeats`` times: CPU s is the least of user and system
time of one call after two calls to warm up. Every case but training has ``--threads`` threads.

PyTorch need not share tfseg's environment: ``--peers-python`` is the interpreter of one that has
it. A contender that is not installed is named and left out, and its goal with it. Exit code 1: a
goal of those measured was missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import network_calls as calls
import numpy as np

FORMATS = {"ours": "tfseg export", "plain": "tf2onnx, GroupNormalization"}


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Attributes:
        module: what must be installed.
        prepare: (folder, threads) -> the call that is measured.
        goal: tfseg's CPU s over this one's may be at most this; ``None`` for tfseg itself.
        is_peer: runs in the peers' interpreter.
    """

    name: str
    module: str
    prepare: Callable[[Path, int], Callable[[], Any]]
    goal: float | None = None
    is_peer: bool = False


@dataclass(frozen=True)
class Case:
    """Contenders that do the same, the first of them tfseg."""

    network: str
    edge: int
    contenders: tuple[Contender, ...]
    one_thread: bool = False


def _exports(module: str, run: Callable[..., Callable[[], Any]], goal: float) -> Case:
    return Case(
        "deep",
        96,
        tuple(
            Contender(
                title,
                module,
                lambda folder, threads, which=which: run(folder, threads, which),
                goal=goal if which == "plain" else None,
            )
            for which, title in FORMATS.items()
        ),
    )


CASES = {
    "inference": Case(
        "deep",
        96,
        (
            Contender("tfseg", "tensorflow", calls.tfseg_inference),
            Contender("PyTorch eager", "torch", calls.torch_inference, goal=0.6, is_peer=True),
        ),
    ),
    "training": Case(
        "light",
        64,
        (
            Contender("tfseg", "tensorflow", calls.tfseg_training),
            Contender(
                "PyTorch channels last", "torch", calls.torch_training, goal=0.65, is_peer=True
            ),
        ),
        one_thread=True,
    ),
    "onnxruntime": _exports("onnxruntime", calls.by_onnxruntime, 1 / 1.3),
    "openvino": _exports("openvino", calls.by_openvino, 1 / 2),
}
CONVERSION_MIB = 2048


def cpu_s() -> float:
    """Return the user and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_contender(case: str, index: int, folder: Path, threads: int) -> None:
    """Measure one contender in this process; print the result as JSON, keep its answer."""
    contender = CASES[case].contenders[index]
    if importlib.util.find_spec(contender.module) is None:
        print("null")
        return
    call = contender.prepare(folder, threads)
    times = []
    for _ in range(5):
        start = cpu_s()
        answer = call()
        times.append(cpu_s() - start)
    np.save(folder / f"{case}-{index}.npy", answer)
    print(json.dumps({"cpu_s": min(times[2:]), "mib": peak_mib()}))


def peak_mib() -> float:
    """Return the peak memory of this process."""
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def in_process(python: str, *arguments: str) -> Any:
    """Run this file in a process of its own; return what it printed last."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [python, __file__, "--run", *arguments],
        stdout=subprocess.PIPE, text=True, check=True, env=environment,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def run_case(name: str, folder: Path, options: argparse.Namespace) -> Iterator[bool]:
    """Measure and print the contenders of a case in turns; yield whether each goal is met."""
    case = CASES[name]
    threads = 1 if case.one_thread else options.threads
    found: list[list[dict]] = [[] for _ in case.contenders]
    for _ in range(options.repeats):
        for index, contender in enumerate(case.contenders):
            python = options.peers_python if contender.is_peer else sys.executable
            result = in_process(python, "contender", name, str(index), str(folder), str(threads))
            if result is not None:
                found[index].append(result)
    ours = min(result["cpu_s"] for result in found[0])
    reference = np.load(folder / f"{name}-0.npy")
    for index, (contender, results) in enumerate(zip(case.contenders, found, strict=True)):
        line = f"{name:12} {contender.name:28}"
        if not results:
            print(f"{line} not installed")
            continue
        taken = min(result["cpu_s"] for result in results)
        mib = max(result["mib"] for result in results)
        apart = np.abs(np.load(folder / f"{name}-{index}.npy") - reference).max()
        line += f" {taken:7.2f} {mib:6.0f} {apart:8.1g}"
        if contender.goal is not None:
            ratio = ours / taken
            yield ratio <= contender.goal
            line += f" {ratio:6.2f} {contender.goal:6.2f} {verdict(ratio <= contender.goal)}"
        print(line, flush=True)


def run_conversions(folder: Path) -> Iterator[bool]:
    """Convert by both ways and print what it takes; yield whether ours keeps to its memory."""
    for which, title in FORMATS.items():
        found = in_process(sys.executable, "convert", which, str(folder))
        line = f"{'conversion':12} {title:28} {found['cpu_s']:7.2f} {found['mib']:6.0f}"
        if which == "ours":
            yield found["mib"] < CONVERSION_MIB
            line += f"{'':24}{verdict(found['mib'] < CONVERSION_MIB)} (2 GiB)"
        print(line, flush=True)


def verdict(met: bool) -> str:
    """Return the last word of a line with a goal."""
    return "met" if met else "MISSED"


def run_part(part: str, *arguments: str) -> None:
    """Do what a process of its own is for."""
    if part == "contender":
        case, index, folder, threads = arguments
        run_contender(case, int(index), Path(folder), int(threads))
    elif part == "folder":
        folder, network, edge = arguments
        calls.run_folder(Path(folder), network, int(edge))
        print("null")
    else:
        which, folder = arguments
        calls.convert(Path(folder), which)
        print(json.dumps({"cpu_s": cpu_s(), "mib": peak_mib()}))


def main() -> None:
    """Run the cases; print a table; exit with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="processes of each contender")
    parser.add_argument("--cases", default=",".join(CASES), help="what to measure")
    parser.add_argument("--threads", type=int, default=2, help="of every case but training")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_part(*options.run)
        return
    names = options.cases.split(",")
    goals: list[bool] = []
    header = f"{'case':12} {'contender':28} {'CPU s':>7} {'MiB':>6} {'apart':>8} {'ratio':>6}"
    print(f"{header} {'goal':>6}")
    with tempfile.TemporaryDirectory() as root:
        for network, edge in dict.fromkeys((CASES[n].network, CASES[n].edge) for n in names):
            in_process(sys.executable, "folder", str(Path(root, network)), network, str(edge))
        if {"onnxruntime", "openvino"} & set(names):
            goals += run_conversions(Path(root, "deep"))
        for name in names:
            goals += run_case(name, Path(root, CASES[name].network), options)
    sys.exit(0 if all(goals) else 1)


if __name__ == "__main__":
    main()
