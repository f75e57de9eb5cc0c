"""What ``network.py`` measures: the same network in tfseg, in PyTorch, and exported."""

from __future__ import annotations

from collections.abc import Callable
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
