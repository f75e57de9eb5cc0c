"""Run the real TensorFlow Addons once; writes what it answers into the folder ``addons`` beside.

    python3.11 -m venv old && old/bin/pip install tensorflow-cpu==2.15.1 \
        tensorflow-addons==0.23.0 'numpy<2'
    old/bin/python tests/goldens/make_addons_goldens.py

It makes ``layers.npz`` (each layer, activation and loss alone, and the versions) and
``networks.zip``: networks, each as ``NAME.h5`` and as a SavedModel in the folder ``NAME``, with an
input and its output in ``NAME.npz``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

TARGET = Path(__file__).with_name("addons")
RNG = np.random.default_rng(20)


def noise(*shape):
    return RNG.normal(0.3, 1, shape).astype(np.float32)


def argmax_of(image, size):
    pooled, places = tf.nn.max_pool_with_argmax(image, size, size, "SAME")
    return pooled.numpy(), places.numpy()


def layer_cases():
    """Yield (name, layer, inputs)."""
    layers, conv = tfa.layers, tf.keras.layers.Conv2D
    image, volume = noise(2, 4, 6, 4), noise(2, 2, 4, 6, 4)
    yield "instance", layers.InstanceNormalization(), [image]
    yield "instance_3d", layers.InstanceNormalization(epsilon=0.02), [volume]
    yield "instance_bare", layers.InstanceNormalization(center=False, scale=False), [image]
    yield "instance_first", layers.InstanceNormalization(axis=1), [image]
    yield "group", layers.GroupNormalization(groups=2), [image]
    yield "group_3d", layers.GroupNormalization(groups=2, epsilon=0.1), [volume]
    yield "group_first", layers.GroupNormalization(groups=2, axis=1), [image]
    yield "group_no_shift", layers.GroupNormalization(groups=4, center=False), [image]
    yield "group_no_scale", layers.GroupNormalization(groups=1, scale=False), [image]
    yield "response", layers.FilterResponseNormalization(), [image]
    yield "response_learned", layers.FilterResponseNormalization(learned_epsilon=True), [image]
    yield "tlu", layers.TLU(), [image]
    yield "tlu_affine", layers.TLU(affine=True), [image]
    yield "gelu_layer", layers.GELU(), [image]
    yield "gelu_layer_exact", layers.GELU(approximate=False), [image]
    for kind in ("Average", "Max"):
        for rank, size, given in ((1, 2, image[:, 0]), (2, (2, 3), image), (3, (1, 2, 3), volume)):
            pooling = getattr(layers, f"Adaptive{kind}Pooling{rank}D")
            yield f"{kind.lower()}_{rank}d", pooling(size), [given]
            # The axes of the image, told to be channels first.
            first = np.moveaxis(given, -1, 1)
            yield f"{kind.lower()}_{rank}d_first", pooling(size, "channels_first"), [first]
    yield "pyramid", layers.SpatialPyramidPooling2D([1, 2]), [image]
    yield "pyramid_uneven", layers.SpatialPyramidPooling2D([[2, 3], 4]), [noise(2, 5, 7, 2)]
    yield "maxout", layers.Maxout(2), [image]
    yield "maxout_first", layers.Maxout(2, axis=1), [image]
    yield "depth", layers.StochasticDepth(0.7), [image, noise(2, 4, 6, 4)]
    yield "weight_dense", layers.WeightNormalization(tf.keras.layers.Dense(3)), [image[:, 0, 0]]
    yield "weight_conv", layers.WeightNormalization(conv(3, 3, activation="relu")), [image]
    yield (
        "weight_conv_3d",
        layers.WeightNormalization(
            tf.keras.layers.Conv3D(3, (1, 2, 3), use_bias=False), data_init=False
        ),
        [volume],
    )
    yield "spectral_dense", layers.SpectralNormalization(tf.keras.layers.Dense(3)), [image[:, 0, 0]]
    yield "spectral_conv", layers.SpectralNormalization(conv(3, 3), power_iterations=2), [image]
    yield "unpool", layers.MaxUnpooling2D(), argmax_of(image, 2)
    yield (
        "unpool_3",
        layers.MaxUnpooling2D(pool_size=(3, 3), strides=(3, 3), padding="VALID"),
        argmax_of(noise(2, 6, 9, 2), 3),
    )
    odd = noise(2, 5, 7, 2)
    yield "unpool_v2", layers.MaxUnpooling2DV2(odd.shape), argmax_of(odd, 2)


ACTIVATIONS = (
    "gelu",
    "hardshrink",
    "lisht",
    "mish",
    "snake",
    "softshrink",
    "sparsemax",
    "tanhshrink",
)


def boxes(count):
    corner = RNG.uniform(0, 6, (count, 2))
    return np.concatenate([corner, corner + RNG.uniform(0.5, 6, (count, 2))], -1).astype(np.float32)


def loss_cases():
    """Yield (name, loss, targets, predictions)."""
    none = tf.keras.losses.Reduction.NONE
    yes = (RNG.uniform(size=(3, 4, 2)) > 0.6).astype(np.float32)
    sure = RNG.uniform(0.02, 0.98, (3, 4, 2)).astype(np.float32)
    sure[0, 0], yes[0, 0] = (0, 1), (0, 1)
    focal = tfa.losses.SigmoidFocalCrossEntropy
    yield "focal", focal(reduction=none), yes, sure
    yield "focal_logits", focal(from_logits=True, alpha=0.6, gamma=1.5), yes, noise(3, 4, 2)
    yield "focal_even", focal(alpha=0.0, gamma=0.0, reduction=none), yes, sure
    yield "focal_default", focal(), yes, sure
    one, other = boxes(6), boxes(6)
    one[0], other[0] = (4, 3, 7, 5), (3, 4, 6, 8)
    one[1], other[1] = (5, 6, 10, 7), (14, 14, 15, 15)
    other[2] = one[2]
    yield "giou", tfa.losses.GIoULoss(reduction=none), one, other
    yield "iou", tfa.losses.GIoULoss(mode="iou"), one, other
    yield "giou_default", tfa.losses.GIoULoss(), one, other


def slope_like(output):
    """Return what outputs are weighed with before they are summed and differentiated."""
    return np.cos(np.arange(np.size(output), dtype=np.float32)).reshape(output.shape)


def legacy_weights(layer):
    return [weight.numpy() for weight in layer.trainable_weights + layer.non_trainable_weights]


def run_layer(layer, inputs):
    """Return what a layer is and does, with random weights, at inference."""
    given = [tf.constant(x) for x in inputs]
    call = layer if layer.__class__.__name__.startswith("MaxUnpooling") else None
    argument = (lambda: call(*given)) if call else (lambda: layer(given if given[1:] else given[0]))
    argument()
    found = {}
    if layer.__class__.__name__ == "WeightNormalization":
        # After the first call, which looked at the data where it was told to.
        for i, value in enumerate(legacy_weights(layer)):
            found[f"first{i}"] = value
    for weight in layer.trainable_weights + layer.non_trainable_weights:
        if weight.dtype.is_floating:
            weight.assign(weight + 0.3 * noise(*weight.shape))
    for i, value in enumerate(legacy_weights(layer)):
        found[f"weight{i}"] = value
    with tf.GradientTape() as tape:
        tape.watch(given[0])
        output = argument()
        total = tf.reduce_sum(output * slope_like(output))
    try:
        gradients = tape.gradient(total, [given[0], *layer.trainable_weights])
    except tf.errors.UnimplementedError:
        gradients = []  # of 3D adaptive pooling: more axes than TensorFlow broadcasts
    found["output"] = output.numpy()
    found |= {f"gradient{i}": g.numpy() for i, g in enumerate(gradients)}
    if layer.__class__.__name__ == "SpectralNormalization":
        found["trained_output"] = layer(given[0], training=True).numpy()
        for i, value in enumerate(legacy_weights(layer)):
            found[f"trained{i}"] = value
    return found


def network():
    """Return a small U-shape out of most layers."""
    keras, layers = tf.keras, tfa.layers
    image = keras.Input((8, 8, 2), name="image")
    x = layers.WeightNormalization(keras.layers.Conv2D(4, 3, padding="same"), name="weight")(image)
    x = layers.InstanceNormalization(name="instance")(x)
    top = keras.layers.Activation(tfa.activations.mish, name="mish")(x)
    x = keras.layers.MaxPooling2D(name="pool")(top)
    x = layers.SpectralNormalization(keras.layers.Conv2D(6, 3, padding="same"), name="spectral")(x)
    x = layers.GroupNormalization(groups=3, name="group")(x)
    x = layers.Maxout(3, name="maxout")(x)
    cell = layers.AdaptiveAveragePooling2D((2, 2), name="cells")(x)
    cell = keras.layers.UpSampling2D(2, name="spread")(cell)
    x = layers.StochasticDepth(0.8, name="depth")([x, cell])
    x = keras.layers.Conv2DTranspose(4, 2, 2, activation=tfa.activations.lisht, name="up")(x)
    x = layers.FilterResponseNormalization(name="response")(x)
    x = layers.TLU(name="tlu")(x)
    x = keras.layers.Concatenate(name="join")([x, top])
    x = keras.layers.Conv2D(1, 1, activation="sigmoid", name="answer")(x)
    return keras.Model(image, x, name="network")


def frozen_network():
    """Return a chain that holds another, with layers that are not to be trained."""
    keras, layers = tf.keras, tfa.layers
    inner = keras.Sequential(
        [layers.GroupNormalization(groups=2, name="group"), keras.layers.Conv2D(2, 1, name="mix")],
        name="inner",
    )
    frozen = layers.WeightNormalization(keras.layers.Conv2D(4, 3), name="weight", trainable=False)
    still = layers.SpectralNormalization(keras.layers.Conv2D(2, 1), name="spectral")
    still.trainable = False
    image = keras.layers.InputLayer((8, 8, 2), name="image")
    return keras.Sequential([image, frozen, inner, still], name="frozen")


def unpooling_network():
    """Return an encoder and decoder that share the places of maxima, as SegNet does."""
    keras = tf.keras
    image = keras.Input((8, 8, 2), name="image")
    x = keras.layers.Conv2D(3, 3, padding="same", name="first")(image)
    x, places = tf.nn.max_pool_with_argmax(x, 2, 2, "SAME")
    # Layers that Keras 2 and Keras 3 write differently, as such networks have them.
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = keras.layers.BatchNormalization(name="batch")(x)
    x = keras.layers.LeakyReLU(0.2, name="leaky")(x)
    x = keras.layers.SeparableConv2D(3, 3, padding="same", name="separable")(x)
    x = tfa.layers.MaxUnpooling2D(name="unpool")(x, places)
    x = tfa.layers.InstanceNormalization(name="instance")(x)
    return keras.Model(image, keras.layers.Conv2D(2, 1, name="last")(x), name="unpooling")


def make_layers():
    arrays, cases, stored = {}, {}, {}
    for name, layer, inputs in layer_cases():
        # Many cases share their input: it is stored under the first one's name.
        keys = [stored.setdefault(x.tobytes(), f"{name}/input{i}") for i, x in enumerate(inputs)]
        arrays |= dict(zip(keys, inputs, strict=True))
        for key, value in run_layer(layer, inputs).items():
            arrays[f"{name}/{key}"] = value
        config = {k: v for k, v in layer.get_config().items() if k != "name"}
        cases[name] = {"class": layer.__class__.__name__, "config": config, "inputs": keys}
    x = np.linspace(-3, 3, 25, dtype=np.float32).reshape(5, 5)
    arrays["activations/input"] = x
    for name in ACTIVATIONS:
        arrays[f"activations/{name}"] = getattr(tfa.activations, name)(x).numpy()
    losses = {}
    for name, loss, targets, predictions in loss_cases():
        losses[name] = {"class": loss.__class__.__name__, "config": loss.get_config()}
        arrays |= {f"{name}/targets": targets, f"{name}/predictions": predictions}
        given = tf.constant(predictions)
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = loss(targets, given)
        arrays[f"{name}/value"] = value.numpy()
        arrays[f"{name}/gradient"] = tape.gradient(value, given).numpy()
    about = {
        "versions": {"tensorflow": tf.__version__, "tensorflow-addons": tfa.__version__},
        "layers": cases,
        "losses": losses,
    }
    arrays["about"] = np.array(json.dumps(about))
    np.savez_compressed(TARGET / "layers.npz", **arrays)


def make_network(model, folder):
    image = noise(2, 8, 8, 2)
    model(image)  # weight normalisation looks at its first data
    for weight in model.weights:
        if weight.dtype.is_floating:
            weight.assign(weight + 0.1 * noise(*weight.shape))
    np.savez_compressed(folder / f"{model.name}.npz", image=image, output=model(image).numpy())
    model.save(folder / model.name, save_format="tf")
    # What a training leaves in the file besides: an optimizer and a loss of Addons.
    model.compile(tfa.optimizers.AdamW(weight_decay=1e-4), tfa.losses.SigmoidFocalCrossEntropy())
    model.save(folder / f"{model.name}.h5")


def make_networks():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in (network(), unpooling_network(), frozen_network()):
            make_network(model, folder)
        with zipfile.ZipFile(TARGET / "networks.zip", "w", zipfile.ZIP_LZMA) as archive:
            for path in sorted(folder.rglob("*")):
                # Without the time, so that only changes of content change the file.
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                if path.is_file():
                    archive.writestr(entry, path.read_bytes(), zipfile.ZIP_LZMA)


def main():
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    make_layers()
    make_networks()


if __name__ == "__main__":
    main()
