"""What a network costs: parameters, multiply-accumulates and seconds of one forward pass.

Counted are the products of convolutions and dense layers, as the papers count them: one
multiply-accumulate is 2 FLOP. Normalisation, activation, pooling, resizing and biases are left
out, being a few per cent at most.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from tfseg.errors import ConfigError


def params(model: Any) -> int:
    """Return the number of trainable parameters of a Keras model."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def macs(model: Any, input_shape: Sequence[int] | None = None) -> int:
    """Return the multiply-accumulates of one forward pass on one sample.

    Walks the functional graph; a layer that is used twice counts twice, and models inside the
    model are entered. Layers of other kinds count nothing.

    Args:
        model: functional Keras model of one input, channels last, of convolutions (plain,
            grouped, transposed, depthwise, separable) and dense layers of any rank.
        input_shape: ([z,] y, x, channels) to count for; ``None`` takes the model's own.

    Raises:
        ConfigError: the size is not fixed.
    """
    import keras

    shape = _fixed_shape(model, input_shape)
    total = 0

    def record(layer: Any, *args: Any, **options: Any) -> Any:
        nonlocal total
        made = layer(*args, **options)
        if isinstance(layer, keras.Model):
            total += macs(layer, args[0].shape[1:])
        elif (count := _COUNTS.get(_kind(layer))) is not None:
            total += count(layer, args[0].shape[1:], made.shape[1:])
        return made

    # Cloning calls every layer once for each place it has in the graph. In this scope the
    # clone's weights get no values and the model itself is not touched.
    with keras.StatelessScope(initialize_variables=False):
        keras.models.clone_model(model, keras.Input(shape), call_function=record)
    return total


def runtime(model: Any, input_shape: Sequence[int] | None = None, *, repeats: int = 5) -> float:
    """Return the median wall time of one forward pass on one sample, in seconds.

    The graph is traced and run once before. Depends on the machine and on what else it does:
    compare times of one run only.

    Args:
        model: Keras model of one input.
        input_shape: ([z,] y, x, channels) of the sample, zeros; ``None`` takes the model's own.
        repeats: timed passes, 1 or more.

    Raises:
        ConfigError: the size is not fixed, or there are no repeats.
    """
    import tensorflow as tf

    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1; got {repeats}.")
    sample = tf.zeros((1, *_fixed_shape(model, input_shape)))
    forward = tf.function(lambda image: model(image, training=False))
    forward(sample)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        forward(sample)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _fixed_shape(model: Any, input_shape: Sequence[int] | None) -> tuple[int, ...]:
    shape = tuple(model.input_shape[1:] if input_shape is None else input_shape)
    if None in shape:
        raise ConfigError(
            f"the cost of a network needs a fixed input size; got {shape}. Give an input_shape."
        )
    return shape


def _kind(layer: Any) -> str:
    """Return the layer's Keras class name without its rank, e.g. ``ConvTranspose``."""
    for kind in type(layer).__mro__:
        if kind.__module__.startswith("keras."):
            return kind.__name__.replace("1D", "").replace("2D", "").replace("3D", "")
    return ""


def _conv(layer: Any, given: tuple[int, ...], made: tuple[int, ...]) -> int:
    return math.prod(made) * math.prod(layer.kernel_size) * given[-1] // layer.groups


def _transposed(layer: Any, given: tuple[int, ...], made: tuple[int, ...]) -> int:
    return math.prod(given) * math.prod(layer.kernel_size) * made[-1]


def _depthwise(layer: Any, given: tuple[int, ...], made: tuple[int, ...]) -> int:
    return math.prod(made) * math.prod(layer.kernel_size)


def _separable(layer: Any, given: tuple[int, ...], made: tuple[int, ...]) -> int:
    spread = given[-1] * layer.depth_multiplier
    return math.prod(made[:-1]) * spread * (math.prod(layer.kernel_size) + made[-1])


def _dense(layer: Any, given: tuple[int, ...], made: tuple[int, ...]) -> int:
    return math.prod(given) * made[-1]


_COUNTS = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "DepthwiseConv": _depthwise,
    "SeparableConv": _separable,
    "Dense": _dense,
}
