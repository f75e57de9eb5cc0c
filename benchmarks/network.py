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

import numpy as np

CLASSES = 3
SLOPE = 0.01
LEARNING_RATE = 0.01
NETWORKS = {
    "deep": {"base_filters": 32, "max_filters": 320, "depth": 5, "deep_supervision": False},
    "light": {"base_filters": 16, "depth": 4, "deep_supervision": False},
}
FORMATS = {"ours": "tfseg export", "plain": "tf2onnx, GroupNormalization"}


def run_folder(folder: Path, network: str, edge: int) -> None:
    """Write a run with seeded weights, its weights again for PyTorch, and an input."""
    import keras

    from tfseg.artifact import Manifest
    from tfseg.models import build
    from tfseg.plan import Plan

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = build("unet", (edge, edge, edge, 1), CLASSES, **NETWORKS[network])
    for weight in model.weights:  # as training leaves them
        if weight.name in {"gamma", "beta", "bias"}:
            weight.assign(weight.numpy() + rng.normal(0, 0.1, weight.shape))
    plan = Plan.parse(
        {
            "version": 1,
            "dims": 3,
            "spacing_mm": [1, 1, 1],
            "patch_size": [edge] * 3,
            "batch_size": 1,
            "channels": [{"name": "CT", "normalisation": {"kind": "zscore"}}],
            "labels": [f"label {index}" for index in range(CLASSES)],
        },
        "benchmark",
    )
    folder.mkdir()
    model.save(folder / "model.keras")
    Manifest(format="run", model="unet", config=NETWORKS[network], plan=plan).save(
        folder, "manifest.json"
    )
    np.savez(folder / "weights.npz", **{w.path: w.numpy() for w in model.weights})
    image = rng.normal(size=(2, edge, edge, edge, 1)).astype(np.float32)
    np.save(folder / "image.npy", image)
    np.save(folder / "labels.npy", (image[..., 0] > 0.5).astype(np.int32) + (image[..., 0] > 1.5))


# --- tfseg ----------------------------------------------------------------------------------


def tfseg_network(folder: Path, threads: int) -> Any:
    """Load the run's network as ``tfseg predict`` and ``tfseg train`` do."""
    from tfseg.quiet import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from tfseg.models import load_run

    return load_run(folder)[0]


def tfseg_inference(folder: Path, threads: int) -> Callable[[], Any]:
    """Return one call of the network in a TensorFlow graph."""
    model = tfseg_network(folder, threads)
    import tensorflow as tf

    image = tf.constant(np.load(folder / "image.npy")[:1])
    call = tf.function(lambda x: model(x, training=False))
    return lambda: call(image).numpy()


def tfseg_training(folder: Path, threads: int) -> Callable[[], Any]:
    """Return a training step with tfseg's loss."""
    model = tfseg_network(folder, threads)
    import keras
    import tensorflow as tf

    from tfseg.losses import build_loss

    image = tf.constant(np.load(folder / "image.npy"))
    labels = tf.constant(np.load(folder / "labels.npy"))
    loss, optimizer = build_loss("dice + ce"), keras.optimizers.SGD(LEARNING_RATE)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(labels, model(image, training=True)))
        optimizer.apply(tape.gradient(value, model.trainable_variables))
        return value

    return lambda: step().numpy()


# --- PyTorch --------------------------------------------------------------------------------


def torch_network(folder: Path) -> Any:
    """Return tfseg's U-Net in PyTorch.

    Where a strided convolution must pad an even size, TensorFlow pads behind, PyTorch in front:
    everything is mirrored, weights and images, and costs what it costs unmirrored.
    """
    import torch
    from torch import nn

    weights = dict(np.load(folder / "weights.npz"))
    depth = 1 + max(int(p[len("encoder")]) for p in weights if p.startswith("encoder"))

    def tensor(path: str) -> torch.Tensor:
        value = weights[path]
        if value.ndim == 5:  # (z, y, x, in, out) -> (out, in, z, y, x); transposed (in, out, ...)
            value = np.flip(value, (0, 1, 2)).transpose(4, 3, 0, 1, 2)
        return nn.Parameter(torch.from_numpy(np.ascontiguousarray(value)))

    def block(name: str, strided: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        for index in (1, 2):
            kernel = tensor(f"{name}_{index}_conv/kernel")
            stride = 2 if strided and index == 1 else 1
            conv = nn.Conv3d(kernel.shape[1], kernel.shape[0], 3, stride, 1, bias=False)
            norm = nn.InstanceNorm3d(kernel.shape[0], eps=1e-5, affine=True)
            conv.weight = kernel
            norm.weight = tensor(f"{name}_{index}_norm/gamma")
            norm.bias = tensor(f"{name}_{index}_norm/beta")
            layers += [conv, norm, nn.LeakyReLU(SLOPE, inplace=True)]
        return nn.Sequential(*layers)

    def up(name: str) -> nn.Module:
        kernel = tensor(f"{name}/kernel")
        layer = nn.ConvTranspose3d(kernel.shape[0], kernel.shape[1], 2, 2)
        layer.weight, layer.bias = kernel, tensor(f"{name}/bias")
        return layer

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(block(f"encoder{level}", level > 0) for level in range(depth))
            self.up = nn.ModuleList(up(f"up{level}") for level in range(depth - 1))
            self.join = nn.ModuleList(block(f"decoder{level}", False) for level in range(depth - 1))
            self.logits = nn.Conv3d(1, 1, 1)
            self.logits.weight = tensor("logits0/kernel")
            self.logits.bias = tensor("logits0/bias")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = []
            for level in self.down:
                x = level(x)
                skips.append(x)
            for level in reversed(range(depth - 1)):
                x = self.join[level](torch.cat([skips[level], self.up[level](x)], 1))
            return self.logits(x)

    return UNet()


def mirrored(path: Path) -> Any:
    """Return the array (n, z, y, x, ...) turned round along all its spatial axes."""
    return np.ascontiguousarray(np.flip(np.load(path), (1, 2, 3)))


def torch_inference(folder: Path, threads: int) -> Callable[[], Any]:
    """Return one call of the network in PyTorch's eager mode."""
    import torch

    torch.set_num_threads(threads)
    model = torch_network(folder).eval()
    image = torch.from_numpy(np.moveaxis(mirrored(folder / "image.npy")[:1], -1, 1).copy())

    @torch.inference_mode()
    def call() -> Any:
        logits = model(image).numpy()
        return np.flip(np.moveaxis(logits, 1, -1), (1, 2, 3))

    return call


def torch_training(folder: Path, threads: int) -> Callable[[], Any]:
    """Return a training step in PyTorch's eager mode, channels last in memory."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    model = torch_network(folder).to(memory_format=torch.channels_last_3d)
    image = torch.from_numpy(np.moveaxis(mirrored(folder / "image.npy"), -1, 1).copy())
    image = image.to(memory_format=torch.channels_last_3d)
    labels = torch.from_numpy(mirrored(folder / "labels.npy")).long()
    truth = functional.one_hot(labels, CLASSES).permute(0, 4, 1, 2, 3).float()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        logits = model(image)
        found = logits.softmax(1)
        axes = (2, 3, 4)
        overlap = (found * truth).sum(axes)
        size = found.sum(axes) + truth.sum(axes)
        dice = 1 - ((2 * overlap + 1) / (size + 1))[:, 1:].mean()
        value = dice + functional.cross_entropy(logits, labels)
        value.backward()
        optimizer.step()
        return np.float32(value.item())

    return step


# --- exports --------------------------------------------------------------------------------


def convert(folder: Path, which: str) -> None:
    """Write the network's ONNX graph, by our exporter or by tf2onnx alone."""
    from tfseg.quiet import import_tensorflow

    import_tensorflow()
    import onnx

    from tfseg_export.onnx import OPSET
    from tfseg_export.onnx import convert as convert_source
    from tfseg_export.source import load_source

    source = load_source(folder)
    if which == "ours":
        model = convert_source(source)
    else:
        import keras
        import tensorflow as tf
        import tf2onnx

        from tfseg.inference.backends.keras_run import class_probabilities
        from tfseg.layers import InstanceNormalization

        def replacement(layer: Any) -> Any:
            if not isinstance(layer, InstanceNormalization):
                return layer
            return keras.layers.GroupNormalization(-1, epsilon=layer.epsilon, name=layer.name)

        network = keras.models.clone_model(source.network, clone_function=replacement)
        network.set_weights(source.network.get_weights())
        spec = tf.TensorSpec((None, *source.window_shape), tf.float32, name="image")
        function = tf.function(
            lambda image: {"probabilities": class_probabilities(network(image, training=False))},
            input_signature=[spec],
        )
        model, _ = tf2onnx.convert.from_function(function, [spec], opset=OPSET)
    onnx.save(model, folder / f"{which}.onnx")


def by_onnxruntime(folder: Path, threads: int, which: str) -> Callable[[], Any]:
    """Return one call of the ONNX graph in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder / f"{which}.onnx", options, providers=["CPUExecutionProvider"]
    )
    image = np.load(folder / "image.npy")[:1]
    return lambda: session.run(None, {"image": image})[0]


def by_openvino(folder: Path, threads: int, which: str) -> Callable[[], Any]:
    """Return one call of the ONNX graph in OpenVINO, one window at a time."""
    import openvino

    image = np.load(folder / "image.npy")[:1]
    model = openvino.Core().read_model(folder / f"{which}.onnx")
    model.reshape(list(image.shape))
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([image])[0].copy()


# --- contenders -----------------------------------------------------------------------------


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
            Contender("tfseg", "tensorflow", tfseg_inference),
            Contender("PyTorch eager", "torch", torch_inference, goal=0.6, is_peer=True),
        ),
    ),
    "training": Case(
        "light",
        64,
        (
            Contender("tfseg", "tensorflow", tfseg_training),
            Contender("PyTorch channels last", "torch", torch_training, goal=0.65, is_peer=True),
        ),
        one_thread=True,
    ),
    "onnxruntime": _exports("onnxruntime", by_onnxruntime, 1 / 1.3),
    "openvino": _exports("openvino", by_openvino, 1 / 2),
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
        run_folder(Path(folder), network, int(edge))
        print("null")
    else:
        which, folder = arguments
        convert(Path(folder), which)
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
