"""The whole way on built-in data: phantom scans, training, three exports, a served query.

    python examples/demo.py [--folder demo] [--model unet] [--time-budget 5m]

Every step is a `tfseg` command, printed before it runs, so the output doubles as a tutorial.
The folder is made anew. The last step sends a DICOM series of a scan that training never saw
to a model server and compares the answer with the local prediction, voxel by voxel.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tfseg.io import read_volume

FORMATS = ("savedmodel", "onnx", "tensorrt")
TEST_CASE = "abdomen_901"


def main() -> None:
    """Run the demo and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--model", default="unet")
    parser.add_argument("--time-budget", default="5m", help="for training")
    given = parser.parse_args()
    started = time.monotonic()
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)

    data, run = given.folder / "data", given.folder / "run"
    exports = given.folder / "exports"
    tfseg("phantom", data, "--dicom")
    outcome = tfseg_json(
        "train", "--model", given.model, "--data", data, "--run", run,
        "--time-budget", given.time_budget,
    )  # fmt: skip
    artifacts = {
        name: tfseg_json("export", run, "--format", name, "-o", exports) for name in FORMATS
    }
    series = data / "dicom" / TEST_CASE
    local, served = given.folder / "local.nii.gz", given.folder / "served.nii.gz"
    tfseg("predict", run, series, "-o", local)
    query(exports / run.name, run.name, series, served)
    show(given.model, outcome, artifacts, agreement(local, served))
    seconds = time.monotonic() - started
    print(f"\n{seconds / 60:.1f} minutes. The run, its report and the exports: {given.folder}/")


def tfseg(*arguments: object) -> str:
    """Run a tfseg command, show it, and return what it printed."""
    words = [str(argument) for argument in arguments]
    print("$ tfseg", *words, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "tfseg", *words], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"demo: `tfseg {words[0]}` failed with exit code {done.returncode}")
    return done.stdout


def tfseg_json(*arguments: object) -> Any:
    """Run a tfseg command with --json and return the document."""
    return json.loads(tfseg(*arguments, "--json"))


def query(model_dir: Path, name: str, series: Path, output: Path) -> None:
    """Serve the SavedModel, send one DICOM series, stop the server."""
    words = ["serve", str(model_dir), "--rest-port", "0", "--grpc-port", "0", "--json"]
    print("$ tfseg", *words, "&", flush=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "tfseg", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        tfseg("query", series, "-o", output, "--url", _ready(server)["grpc"], "--name", name)
    finally:
        server.terminate()
        server.wait(timeout=60)


def _ready(server: subprocess.Popen[str]) -> Any:
    """Wait for the server's JSON document, which it prints when it is ready."""
    text = ""
    for line in server.stdout or ():
        text += line
        if line.startswith("}"):
            return json.loads(text)
    sys.exit(f"demo: the server ended with exit code {server.wait()}")


def agreement(first: Path, second: Path) -> float:
    """Return the share of voxels with the same label in two label maps."""
    a, b = read_volume(first), read_volume(second)
    if not np.array_equal(a.affine, b.affine):
        sys.exit("demo: the served label map lies on another grid than the local one")
    return float(np.mean(a.array == b.array))


def show(model: str, outcome: Any, artifacts: Any, same: float) -> None:
    """Print the table."""
    table = Table(title="tfseg, from a scan to a served model", title_justify="left")
    table.add_column("step")
    table.add_column("result")
    training, metrics = outcome["training"], outcome["metrics"]
    table.add_row(
        f"train {model}",
        f"{training['steps']} steps in {training['seconds'] / 60:.1f} min, "
        f"{training['parameters'] / 1e6:.2f} M parameters",
    )
    for name, figures in metrics["classes"].items():
        table.add_row(f"held-out Dice, {name}", f"{figures['metrics']['dice']['mean']:.3f}")
    for name, artifact in artifacts.items():
        parity = artifact["parity"]
        table.add_row(
            f"export {name}",
            f"{artifact['size_bytes'] / 1e6:.1f} MB, differs by at most {parity['max_abs']:.1e}, "
            f"labels agree on {parity['label_agreement']:.4%}",
        )
    table.add_row("served query = local prediction", f"{same:.4%} of voxels")
    Console().print(table)
    if same < 0.9999:
        sys.exit("demo: the served labels differ from the local prediction")


if __name__ == "__main__":
    main()
