"""Networks of every family trained for the same time, and how good each is after it.

    python benchmarks/ten_minutes.py --hippocampus DIR --drive DIR --work DIR
                                     [--time-budget 10m] [--cores 2] [--networks unet,vnet]
                                     [--out docs/data/ten_minutes.json] [--busy]

One after another, each in a fresh process: ``tfseg train --time-budget`` with the same seed on
fold 0 of the Hippocampus task of the Medical Segmentation Decathlon (volumes) or of DRIVE
(photographs), which ends as ``tfseg evaluate`` does: the held-out cases are predicted whole and
measured. Every network has its default form at the width that the planner gives on CPUs, in the
rank it was published for.

Every finished network is a line of ``rows.jsonl`` in the work folder, so that an interrupted
benchmark goes on where it stopped; rows of other settings are refused. Prints the table, and writes
it to ``ten_minutes.md`` beside the rows, and the figures to ``--out``, from which
``docs/make_models.py`` makes the table in docs/models.md. Networks compete for the same cores, so
it refuses to start on a machine that has other work (``--busy`` starts all the same).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfseg.config import parse_duration
from tfseg.errors import ConfigError, TfsegError
from tfseg.files import read_json, write_json, write_text
from tfseg.models import MODELS

# Data set -> networks, each in the rank it was published for. The first ones are of most
# families, so that a part is worth reading; eighteen of ten minutes take three hours and a half.
NETWORKS = {
    "hippocampus": (
        "unet3d", "vnet", "dense_unet3d", "nonlocal_unet", "cascaded_vnet", "fcn_2p5d",
        "segresnet", "kidnet", "fcn_ppm_3d",
    ),
    "drive": (
        "unet", "fcn8s", "pspnet", "segnet", "fc_densenet56", "deeplabv3plus", "acnn",
        "attention_unet", "drinet",
    ),
}  # fmt: skip
TITLES = {"hippocampus": "Hippocampus, 3D", "drive": "DRIVE, 2D"}
SEED = 0
STEPS_PER_EPOCH = 25  # the time budget ends a run between epochs
VALIDATE_EVERY = 20  # epochs: a run's time is for training
LOST_DICE = 0.01  # a class with less has not been learnt
FEW_STEPS = 100  # with fewer, a Dice says more about speed than about the network
BUSY_LOAD = 0.5  # runnable processes on an idle machine, over a minute, at most


@dataclass(frozen=True)
class Settings:
    """What all rows of one table share.

    Attributes:
        time_budget: as ``tfseg train`` takes it.
        cores: of the machine that a training may use.
        seed: of everything random.
    """

    time_budget: str
    cores: int
    seed: int = SEED


@dataclass(frozen=True)
class Row:
    """One trained network.

    Attributes:
        network: its name.
        data: the data set.
        family: of the network.
        parameters: as trained, training heads included.
        patch_size: voxels of a patch.
        batch_size: patches a step.
        steps: training steps in the time budget.
        seconds_per_step: median over the epochs but the first, which builds the graph.
        dice: mean over the classes but the background, and over the held-out cases.
        lost: classes whose Dice is below 0.01: the network says background, or another class.
        peak_rss_mib: largest resident memory of the process, evaluation included.
        cpu_share: processor time over wall time and cores: far below 1 on a machine with
            other work, or where a network keeps its cores waiting.
        settings: of the table.
    """

    network: str
    data: str
    family: str
    parameters: int
    patch_size: list[int]
    batch_size: int
    steps: int
    seconds_per_step: float
    dice: float
    lost: list[str]
    peak_rss_mib: int
    cpu_share: float
    settings: dict[str, Any]


def train(network: str, data: str, folder: Path, work: Path, settings: Settings) -> Row:
    """Train and measure one network in a process of its own.

    Raises:
        TfsegError: the training failed; its messages are in ``<network>.log`` of the work folder.
    """
    run = work / f"{network}-{data}"
    shutil.rmtree(run, ignore_errors=True)  # of an earlier, interrupted benchmark
    command = [
        *(sys.executable, "-c", "from tfseg.cli.main import main; main()", "train"),
        *("--model", network, "--data", str(folder), "--run", str(run), "--fold", "0"),
        *("--time-budget", settings.time_budget, "--seed", str(settings.seed)),
        *("--set", f"steps_per_epoch={STEPS_PER_EPOCH}"),
        *("--set", f"validate_every={VALIDATE_EVERY}", "--json"),
    ]
    cores = sorted(os.sched_getaffinity(0))[: settings.cores]
    output, log = work / f"{network}.json", work / f"{network}.log"
    start = time.monotonic()
    with output.open("w") as stdout, log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise TfsegError(
            f"{network} ended with exit code {process.returncode}; {log} says why: "
            f"{' '.join(log.read_text().split())[-300:]}"
        )
    outcome, plan = read_json(output, "the outcome"), read_json(run / "plan.json", "the plan")
    steps, seconds_per_step = pace(run / "history.csv")
    classes = outcome["metrics"]["classes"]
    dice = {name: entry["metrics"]["dice"]["mean"] for name, entry in classes.items()}
    row = Row(
        network=network,
        data=data,
        family=MODELS[network].family,
        parameters=outcome["training"]["parameters"],
        patch_size=plan["patch_size"],
        batch_size=plan["batch_size"],
        steps=steps,
        seconds_per_step=seconds_per_step,
        dice=outcome["metrics"]["mean_dice"],
        lost=[name for name, value in dice.items() if not value >= LOST_DICE],
        peak_rss_mib=usage.ru_maxrss // 1024,
        cpu_share=round((usage.ru_utime + usage.ru_stime) / seconds / len(cores), 2),
        settings=asdict(settings),
    )
    shutil.rmtree(run)
    return row


def pace(history: Path) -> tuple[int, float]:
    """Return the steps of a run and the seconds of one, from its ``history.csv``.

    The first epoch builds the graph and validations take time of their own; what remains is
    training. A run of one epoch has only that.
    """
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ends = [(int(row["step"]), float(row["seconds"]), bool(row["val_dice"])) for row in rows]
    paces = [
        (seconds - before_s) / (step - before)
        for (before, before_s, _), (step, seconds, validated) in itertools.pairwise(ends)
        if not validated
    ]
    steps, seconds, _ = ends[-1]
    return steps, round(statistics.median(paces) if paces else seconds / steps, 3)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the Markdown table, best first within a data set."""
    lines = [
        "| network | family | data | Dice | parameters | s/step | steps | memory | |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    order = list(TITLES)
    for row in sorted(rows, key=lambda row: (order.index(row["data"]), -row["dice"])):
        lines.append(
            f"| `{row['network']}` | {row['family']} | {TITLES[row['data']]} "
            f"| {row['dice']:.3f} | {row['parameters'] / 1e6:.2f} M "
            f"| {row['seconds_per_step']:.2f} | {row['steps']} "
            f"| {row['peak_rss_mib'] / 1024:.1f} GiB | {remark(row)} |"
        )
    return lines


def remark(row: dict[str, Any]) -> str:
    """Return what a reader must know: classes that were not learnt, too few steps."""
    remarks = []
    if row["lost"]:
        remarks.append(f"never found: {', '.join(row['lost'])}")
    if row["steps"] < FEW_STEPS:
        remarks.append("few steps")
    return "; ".join(remarks)


def finished(path: Path, settings: Settings) -> list[dict[str, Any]]:
    """Return the rows of an earlier start.

    Raises:
        ConfigError: they were made with other settings.
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["settings"] != asdict(settings):
            raise ConfigError(
                f"all rows of a table must have the same settings; {path} has {row['settings']}, "
                f"given are {asdict(settings)}. Choose another --work."
            )
    return rows


def chosen(names: str | None) -> list[tuple[str, str]]:
    """Return (network, data set) of the networks asked for, the data sets taking turns.

    Raises:
        ConfigError: a name that the benchmark does not have.
    """
    known = {network: data for data, networks in NETWORKS.items() for network in networks}
    if names is None:
        turns = [
            (name, index, data) for data in NETWORKS for index, name in enumerate(NETWORKS[data])
        ]
        return [(name, data) for name, _, data in sorted(turns, key=lambda turn: turn[1])]
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise ConfigError(
            f"--networks must be of those listed in the script; got {unknown[0]!r}. "
            f"Listed: {', '.join(known)}."
        )
    return [(name, known[name]) for name in names.split(",")]


def check_idle(busy: bool) -> None:
    """Refuse a machine with other work.

    Raises:
        ConfigError: the load of the last minute is above that of an idle machine.
    """
    load = os.getloadavg()[0]
    if load > BUSY_LOAD and not busy:
        raise ConfigError(
            f"the machine must be idle (load at most {BUSY_LOAD}), or the figures mean nothing; "
            f"its load is {load:.1f}. Wait, or start with --busy."
        )


def parse_arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hippocampus", type=Path, required=True, help="Task04_Hippocampus folder")
    parser.add_argument("--drive", type=Path, required=True, help="DRIVE folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and rows")
    parser.add_argument("--time-budget", default="10m", help="of each training [10m]")
    parser.add_argument("--cores", type=int, default=2, help="that a training may use [2]")
    parser.add_argument("--networks", help="with commas between them [all]")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    parser.add_argument("--busy", action="store_true", help="start on a machine with other work")
    return parser.parse_args()


def benchmark(arguments: argparse.Namespace) -> int:
    """Train what is missing, and write the table; return the number of failures."""
    parse_duration(arguments.time_budget)
    settings = Settings(arguments.time_budget, arguments.cores)
    folders = {data: getattr(arguments, data).resolve() for data in TITLES}
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    path = work / "rows.jsonl"
    rows = finished(path, settings)
    done = {row["network"] for row in rows}
    missing = [pair for pair in chosen(arguments.networks) if pair[0] not in done]
    if missing:
        check_idle(arguments.busy)
    failures = 0
    for network, data in missing:
        try:
            row = asdict(train(network, data, folders[data], work, settings))
        except TfsegError as error:
            failures += 1
            print(error, file=sys.stderr)
            continue
        rows.append(row)
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(table([row])[-1], flush=True)
    write_text(work / "ten_minutes.md", "\n".join(table(rows)) + "\n")
    print("\n".join(table(rows)))
    if arguments.out is not None:
        write_json(arguments.out, {"settings": asdict(settings), "rows": rows})
    return failures


def main() -> None:
    """Run the benchmark and exit: 0 all done, 1 a training failed, 2 wrong options."""
    try:
        sys.exit(1 if benchmark(parse_arguments()) else 0)
    except TfsegError as error:
        print(f"ten_minutes: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
