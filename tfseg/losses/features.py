"""Distances between the features that a network takes from two images.

The features are those of a critic in training, or of VGG16, frozen.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import keras
import numpy as np
import tensorflow as tf
from pydantic import AfterValidator, Field

from tfseg.errors import ConfigError
from tfseg.losses.fields import Fields
from tfseg.losses.regression import join_scales, mean_absolute, mean_squared, widen

# A pooling by 2 comes between blocks.
VGG16_LAYERS = (
    "block1_conv1", "block1_conv2",
    "block2_conv1", "block2_conv2",
    "block3_conv1", "block3_conv2", "block3_conv3",
    "block4_conv1", "block4_conv2", "block4_conv3",
    "block5_conv1", "block5_conv2", "block5_conv3",
)  # fmt: skip
# Mean of the blue, green and red of ImageNet, which the published weights were trained without.
_BGR_MEAN = (103.939, 116.779, 123.68)


def _known_layers(layers: tuple[str, ...]) -> tuple[str, ...]:
    if not layers or set(layers) - set(VGG16_LAYERS):
        raise ValueError(f"layers of VGG16 must be one or more of {', '.join(VGG16_LAYERS)}")
    return layers


def _usable_file(weights: str | None) -> str:
    """Read the file, so that a wrong one is found before the training starts."""
    if weights is None:
        raise ValueError(
            "a local file of VGG16's weights is needed: save keras.applications.VGG16("
            "include_top=False) with save_weights and give its path"
        )
    path = Path(weights).expanduser()
    if not path.is_file() or path.suffix != ".h5":
        raise ValueError("VGG16's weights must be a file ending in .h5 or .weights.h5")
    try:
        _load_vgg16(os.fspath(path.resolve()))
    except (OSError, KeyError, ValueError, UserWarning) as error:
        raise ValueError(
            "the file must fit VGG16 without its classifier: save keras.applications.VGG16("
            "include_top=False) with save_weights"
        ) from error
    return os.fspath(path.resolve())


Layers = Annotated[tuple[str, ...], AfterValidator(_known_layers)]
WeightsFile = Annotated[str | None, Field(validate_default=True), AfterValidator(_usable_file)]
Distance = Literal["l1", "squared"]


def multiscale_l1_term(
    real: Sequence[tf.Tensor],
    fake: Sequence[tf.Tensor],
    *,
    mode: Literal["mean", "concat"] = "mean",
) -> tf.Tensor:
    """Return the mean over layers of the mean of |f(real) - f(fake)|, (batch,) >= 0.

    The segmenter minimises it and the critic maximises it: SegAN, Xue et al. 2017,
    arXiv:1706.01805.

    Args:
        real: what the critic's layers make of the image times the reference; (batch, ...) each.
        fake: the same of the image times the prediction.
        mode: ``mean`` over layers of their means, as in the paper; ``concat``: over the elements
            of all layers together, as in the authors' code.

    Raises:
        ConfigError: not as many layers in both.
    """
    _check_same_layers(real, fake)
    sums, counts = [], []
    for a, b in zip(real, fake, strict=True):
        distance = mean_absolute(a, b)
        elements = tf.cast(tf.reduce_prod(tf.shape(a)[1:]), distance.dtype)
        sums.append(distance * elements)
        counts.append(elements)
    return join_scales(sums, counts, mode)


def feature_matching(
    real: tf.Tensor | Sequence[tf.Tensor], fake: tf.Tensor | Sequence[tf.Tensor]
) -> tf.Tensor:
    """Return the mean of |E f(real) - E f(fake)| over the features, a scalar >= 0.

    E is the mean over the batch (of one device). Salimans et al. 2016, arXiv:1606.03498, in the L1
    form of Mondal et al. 2018, arXiv:1810.12241.

    Args:
        real: (batch, ...) features that a critic takes from real images; or one tensor a layer,
            whose distances are averaged.
        fake: the same of generated images; the batch may be of another size.

    Raises:
        ConfigError: not as many layers in both.
    """
    reals, fakes = _layers(real), _layers(fake)
    _check_same_layers(reals, fakes)
    distances = [
        tf.reduce_mean(tf.abs(tf.reduce_mean(widen(a), 0) - tf.reduce_mean(widen(b), 0)))
        for a, b in zip(reals, fakes, strict=True)
    ]
    return tf.add_n(distances) / len(distances)


def perceptual_vgg16(
    f: Fields,
    *,
    weights: WeightsFile = None,
    layers: Layers = ("block2_conv2",),
    distance: Distance = "l1",
) -> tf.Tensor:
    """Return the mean over classes of the distance of VGG16's features of p and q, (batch,) >= 0.

    A probability is shown as a grey image, slice by slice in 3D: shapes that look alike cost
    little. Mosinska et al. 2018, arXiv:1712.02190 (with VGG19); for two images there is
    :func:`perceptual_vgg16_term`.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so. Ignored
            voxels are black in both: they change neither value nor gradient. Voxel weights scale
            both images.
        weights: file of VGG16's weights, as for :func:`perceptual_vgg16_term`.
        layers: names out of :data:`VGG16_LAYERS`.
        distance: mean of the absolute or of the squared differences of features.

    Raises:
        ConfigError: no file, one that does not fit, unknown layers, or lines for images.
    """
    if f.rank < 2:
        raise ConfigError("perceptual_vgg16 needs images with 2 or 3 axes; got 1.")
    first = 0 if f.counts_background(False) else 1
    counted = f.classes - first
    p, q = f.p[..., first:], f.q[..., first:]
    for factor in (f.valid, f.weights):
        if factor is not None:
            p *= factor[..., tf.newaxis]
            q *= factor[..., tf.newaxis]
    each = _distances(
        _class_slices(p), _class_slices(q), weights, tuple(layers), distance, low=0.0, high=1.0
    )
    by_class = tf.reduce_mean(tf.reshape(each, [tf.shape(p)[0], -1, counted]), 1)
    return f.class_mean(tf.pad(by_class, [[0, 0], [first, 0]]))


def perceptual_vgg16_term(
    image: tf.Tensor,
    other: tf.Tensor,
    *,
    weights: str | None = None,
    layers: Sequence[str] = ("block2_conv2",),
    distance: Distance = "l1",
    low: float = -1.0,
    high: float = 1.0,
) -> tf.Tensor:
    """Return the distance of VGG16's features of two images, (batch,) >= 0.

    Averaged over features, slices and layers. The defaults are those of the pGAN, Dar et al. 2019,
    arXiv:1802.01221; AsynDGAN, arXiv:2006.00080, takes ``block1_conv2``, ``block2_conv2``,
    ``block3_conv3`` and ``block4_conv3`` with squared differences. Johnson et al. 2016,
    arXiv:1603.08155.

    Args:
        image: (batch, [z,] y, x, 1 or 3), grey or red, green, blue; 3D as slices.
        other: the same shape.
        weights: file (.h5 or .weights.h5) of ``keras.applications.VGG16(include_top=False)``.
        layers: names out of :data:`VGG16_LAYERS`.
        distance: mean of the absolute or of the squared differences of features.
        low: value of black.
        high: value of white.

    Raises:
        ConfigError: no file, one that does not fit, unknown layers, or another number of channels.
    """
    each = _distances(_slices(image), _slices(other), weights, tuple(layers), distance, low, high)
    return tf.reduce_mean(tf.reshape(each, [tf.shape(image)[0], -1]), 1)


def vgg16_features(
    images: tf.Tensor, weights: str | None, layers: Sequence[str]
) -> list[tf.Tensor]:
    """Return what layers of VGG16 make of slices.

    The weights are constants: nothing of it is trained, and gradients reach the images. A pooling
    of an odd size keeps the last row and column, so that no image is too small.

    Args:
        images: (n, y, x, 1 or 3), 0 black and 255 white; grey, or red, green, blue.
        weights: as for :func:`perceptual_vgg16_term`.
        layers: names out of :data:`VGG16_LAYERS`.

    Returns:
        One (n, y', x', channels) after the activation for each layer, in the network's order.
    """
    wanted = set(_checked(_known_layers, tuple(layers)))
    parameters = _load_vgg16(_checked(_usable_file, weights))
    if images.shape[-1] not in (1, 3):
        raise ConfigError(f"VGG16 needs images of 1 or 3 channels; got {images.shape[-1]}.")
    # Grey is repeated, colour is turned to blue, green, red.
    x = tf.reverse(images, [-1]) if images.shape[-1] == 3 else tf.repeat(images, 3, -1)
    x -= tf.constant(_BGR_MEAN, x.dtype)
    found: list[tf.Tensor] = []
    for index, name in enumerate(VGG16_LAYERS):
        if index and name.endswith("_conv1"):
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        kernel, bias = (tf.constant(part, x.dtype) for part in parameters[name])
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
        if name in wanted:
            found.append(x)
        if len(found) == len(wanted):
            break
    return found


def _checked(rule: Callable[[Any], Any], given: Any) -> Any:
    try:
        return rule(given)
    except ValueError as error:
        raise ConfigError(f"{error}; got {given!r}.") from error


def _distances(
    a: tf.Tensor,
    b: tf.Tensor,
    weights: str | None,
    layers: tuple[str, ...],
    distance: str,
    low: float,
    high: float,
) -> tf.Tensor:
    """Return the distance of each pair of slices, (n, y, x, c) -> (n,)."""
    scale = 255 / (high - low)
    one = vgg16_features((widen(a) - low) * scale, weights, layers)
    two = vgg16_features((widen(b) - low) * scale, weights, layers)
    measure = mean_absolute if distance == "l1" else mean_squared
    return tf.add_n([measure(x, y) for x, y in zip(one, two, strict=True)]) / len(one)


def _slices(image: tf.Tensor) -> tf.Tensor:
    """(batch, [z,] y, x, c) -> (batch [* z], y, x, c)."""
    if len(image.shape) == 4:
        return image
    merged = tf.reshape(image, tf.concat([[-1], tf.shape(image)[2:]], 0))
    merged.set_shape([None, *image.shape[2:]])
    return merged


def _class_slices(maps: tf.Tensor) -> tf.Tensor:
    """(batch, [z,] y, x, k) -> (batch [* z] * k, y, x, 1), classes next to each other."""
    channels_first = tf.transpose(_slices(maps), [0, 3, 1, 2])
    merged = tf.reshape(channels_first, tf.concat([[-1], tf.shape(channels_first)[2:], [1]], 0))
    merged.set_shape([None, *channels_first.shape[2:], 1])
    return merged


@functools.lru_cache(maxsize=1)
def _load_vgg16(path: str) -> dict[str, list[np.ndarray]]:
    """Return [kernel, bias] of every layer."""
    # A loss may be traced inside a graph and on several replicas, where a new network's variables
    # would become part of these. A thread of its own has neither.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_read_vgg16, path).result()


def _read_vgg16(path: str) -> dict[str, list[np.ndarray]]:
    network = keras.applications.VGG16(include_top=False, weights=None)
    with warnings.catch_warnings():
        # Keras only warns of layers that the file lacks, and leaves them random.
        warnings.simplefilter("error", UserWarning)
        network.load_weights(path)
    return {name: network.get_layer(name).get_weights() for name in VGG16_LAYERS}


def _check_same_layers(real: Sequence[tf.Tensor], fake: Sequence[tf.Tensor]) -> None:
    if len(real) != len(fake) or not real:
        raise ConfigError(
            f"both images must have the features of the same layers; got {len(real)} and "
            f"{len(fake)} layers."
        )


def _layers(features: tf.Tensor | Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return list(features) if isinstance(features, list | tuple) else [features]
