"""What sliding windows cost beside the network: tfseg, MONAI and nnU-Net, on one thread.

    python benchmarks/sliding.py [--repeats 3] [--classes 3,20] [--peers-python PATH]

A volume of 160 x 256 x 256 voxels goes through a network of one 1x1x1 convolution in 75 windows
of 96^3 with half their width of overlap and Gaussian weights, and comes out as labels. All have
the same weights and volume. What is asked of each is what it does by itself: tfseg averages
probabilities, the others logits (nnU-Net's in half precision), so labels may differ where windows
disagree; with this network they do not, and "labels" is the share that equals tfseg's.

Each contender runs in processes of its own, in turns with the others, ``--repeats`` times. CPU s
is user and system time of one prediction after one to warm up, ``network`` that of the 75 calls
alone, ``beside`` the difference: the median over the repeats. ``ratio`` is tfseg's ``beside``
over the other's, median of the pairs that ran one after the other. Exit code 1: a goal was missed.
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
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np

SHAPE, EDGE, WINDOWS = (160, 256, 256), 96, 75
GOALS = {"nnunetv2": 0.5}
# What runs the network once on (1, edge, edge, edge, c), and a volume -> labels.
Calls = tuple[Callable[[], Any], Callable[[], Any]]


def cpu_s() -> float:
    """Return the user and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tfseg(image: Any, weights: Any) -> Calls:
    """Return the calls of tfseg's own network of a run."""
    from tfseg.quiet import import_tensorflow

    import_tensorflow()
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from tfseg.inference.backends.keras_run import KerasBackend
    from tfseg.inference.sliding import segment_array
    from tfseg.plan import Channel, Plan, Scale

    classes = weights.shape[-1]
    inputs = keras.Input((EDGE,) * 3 + (1,))
    layer = keras.layers.Conv3D(classes, 1, use_bias=False, name="logits")
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(weights)
    network = tf.function(lambda batch: model(batch, training=False))
    plan = Plan(
        dims=3,
        spacing_mm=None,
        patch_size=(EDGE,) * 3,
        batch_size=1,
        channels=(Channel(name="image", normalisation=Scale()),),
        labels=tuple(f"label {value}" for value in range(classes)),
    )
    backend = KerasBackend(model)
    volume = np.ascontiguousarray(image[..., np.newaxis])
    window = np.ascontiguousarray(volume[np.newaxis, :EDGE, :EDGE, :EDGE])
    return (
        lambda: network(tf.constant(window)).numpy(),
        lambda: segment_array(volume, backend, plan),
    )


def _torch_network(weights: Any) -> tuple[Any, Any]:
    import torch

    torch.set_num_threads(1)
    network = torch.nn.Conv3d(1, weights.shape[-1], 1, bias=False).eval()
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(weights[0, 0, 0].T[..., None, None, None]))
    return torch, network


def monai(image: Any, weights: Any) -> Calls:
    """Return the calls of MONAI's sliding_window_inference."""
    torch, network = _torch_network(weights)
    from monai.inferers import sliding_window_inference

    volume = torch.from_numpy(image)[None, None]
    window = volume[:, :, :EDGE, :EDGE, :EDGE].contiguous()

    @torch.inference_mode()
    def segment() -> Any:
        logits = sliding_window_inference(
            volume, (EDGE,) * 3, 1, network, overlap=0.5, mode="gaussian", sigma_scale=1 / 8
        )
        return logits[0].argmax(0).to(torch.uint8).numpy()

    return torch.inference_mode()(lambda: network(window)), segment


def nnunetv2(image: Any, weights: Any) -> Calls:
    """Return the calls of nnU-Net's predictor."""
    torch, network = _torch_network(weights)
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"),
        allow_tqdm=False,
    )  # fmt: skip
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=(EDGE,) * 3)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=weights.shape[-1])
    volume = torch.from_numpy(image)[None]
    window = volume[None, :, :EDGE, :EDGE, :EDGE].contiguous()

    def segment() -> Any:
        logits = predictor.predict_sliding_window_return_logits(volume)
        return logits.argmax(0).to(torch.uint8).numpy()

    return torch.inference_mode()(lambda: network(window)), segment


CONTENDERS: dict[str, Callable[[Any, Any], Calls]] = {
    "tensorflow": tfseg,
    "monai": monai,
    "nnunetv2": nnunetv2,
}


def run_contender(name: str, folder: Path) -> None:
    """Measure one contender in this process; print the result as JSON, keep its labels."""
    if importlib.util.find_spec(name) is None:
        print("null")
        return
    network, segment = CONTENDERS[name](np.load(folder / "image.npy"), np.load(folder / "w.npy"))
    taken = []
    for call, times in ((segment, 1), (network, WINDOWS)):
        call()
        start = cpu_s()
        for _ in range(times):
            answer = call()
        taken.append(cpu_s() - start)
        if call is segment:
            np.save(folder / f"{name}.npy", answer)
    print(json.dumps({"total": taken[0], "network": taken[1]}))


def in_process(python: str, *arguments: str) -> Any:
    """Run this file in a process of its own on one thread; return what it printed last."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, __file__, "--run", *arguments],
        stdout=subprocess.PIPE, text=True, check=True, env=environment,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def run_case(classes: int, folder: Path, options: argparse.Namespace) -> bool:
    """Measure and print all contenders in turns; return whether the goals are met."""
    rng = np.random.default_rng(1)
    np.save(folder / "image.npy", rng.normal(size=SHAPE).astype(np.float32))
    np.save(folder / "w.npy", rng.normal(size=(1, 1, 1, 1, classes)).astype(np.float32))
    found: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    for _ in range(options.repeats):
        for name in CONTENDERS:
            python = sys.executable if name == "tensorflow" else options.peers_python
            result = in_process(python, name, str(folder))
            if result is not None:
                found[name].append({**result, "beside": result["total"] - result["network"]})
    ours, met = found["tensorflow"], True
    labels = np.load(folder / "tensorflow.npy")
    for name, results in found.items():
        line = f"{classes:7} {'tfseg' if name == 'tensorflow' else name:10}"
        if not results:
            print(f"{line} not installed")
            continue
        line += "".join(
            f" {median(r[part] for r in results):8.2f}" for part in ("total", "network", "beside")
        )
        line += f" {np.mean(np.load(folder / f'{name}.npy') == labels):9.5f}"
        ratio = median(a["beside"] / b["beside"] for a, b in zip(ours, results, strict=True))
        line += f" {ratio:6.2f}"
        if name in GOALS:
            met = met and ratio <= GOALS[name]
            line += f" {GOALS[name]:5.2f} {'met' if ratio <= GOALS[name] else 'MISSED'}"
        print(line, flush=True)
    return met


def main() -> None:
    """Run the cases; print a table; exit with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="processes of each contender")
    parser.add_argument("--classes", default="3,20", help="how many, a case each")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_contender(options.run[0], Path(options.run[1]))
        return
    parts = ("total", "network", "beside")
    print(f"classes {'':10}" + "".join(f" {part:>8}" for part in parts) + "    labels  ratio  goal")
    with tempfile.TemporaryDirectory() as folder:
        met = [run_case(int(n), Path(folder), options) for n in options.classes.split(",")]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
