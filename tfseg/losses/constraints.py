"""Losses of what is predicted as a whole: its size, its certainty."""

from __future__ import annotations

from typing import Annotated

import tensorflow as tf
from pydantic import AfterValidator, Field

from tfseg.errors import ConfigError
from tfseg.losses.fields import Fields

_TOLERANCE = 0.1  # Kervadec et al.: sizes within 10 % of the true one are right


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound must not exceed the upper one; got {bounds}")
    return bounds


_Size = Annotated[float, Field(ge=0)]
Bounds = Annotated[tuple[_Size, _Size], AfterValidator(_ordered)]


def size_constraint(
    f: Fields,
    *,
    bounds: Bounds | Annotated[tuple[Bounds, ...], Field(min_length=1)] | None = None,
    tolerance: Annotated[float, Field(ge=0)] | None = None,
    divide_by_size: bool = False,
) -> tf.Tensor:
    """Return (V - a)^2 where V < a, (V - b)^2 where V > b, else 0; mean over classes, (batch,).

    V is the sum of q over the voxels, the size that is predicted. A class that the image does
    not have must have size 0 (a = b = 0). To be added to a cross-entropy; the authors weigh it
    with 0.01. Kervadec et al. 2019, arXiv:1805.04628.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so. Targets
            tell which classes there are, and how large where ``bounds`` is left out.
        bounds: (a, b) in voxels for all classes; or one pair a class, the background included.
        tolerance: a and b are (1 - t) and (1 + t) times the true size. 0.1 if both are left out.
        divide_by_size: divide by the number of voxels, as the authors' program does.

    Raises:
        ConfigError: both, or bounds for another number of classes.
    """
    if bounds is not None and tolerance is not None:
        raise ConfigError(
            f"size_constraint takes bounds or tolerance; got bounds={bounds} and "
            f"tolerance={tolerance}. Leave one out."
        )
    true_size = f.class_sums(f.p)
    if bounds is None:
        share = _TOLERANCE if tolerance is None else tolerance
        low, high = (1 - share) * true_size, (1 + share) * true_size
    else:
        pairs = tf.constant(_pairs(f, bounds), f.dtype)  # (k, 2)
        present = tf.cast(true_size > 0, f.dtype)
        low, high = present * pairs[:, 0], present * pairs[:, 1]
    size = f.class_sums(f.q)
    cost = tf.square(tf.nn.relu(low - size)) + tf.square(tf.nn.relu(size - high))
    if divide_by_size:
        cost = tf.math.divide_no_nan(cost, f.class_sums(tf.ones_like(f.q)))
    return f.class_mean(cost)


def entropy(f: Fields) -> tf.Tensor:
    """Return the mean over voxels of -sum_c q_c log q_c, (batch,) in nats.

    0 where the prediction is certain, log k where it knows nothing. Independent channels have
    -(q log q + (1-q) log(1-q)) each, and are averaged. It needs no labels: Grandvalet & Bengio
    2004. To be added to a loss that has some.
    """
    values = -f.q * f.log_q
    if not f.exclusive:
        values -= (1 - f.q) * f.log_not_q
    return f.voxel_mean(values)


def _pairs(
    f: Fields, bounds: tuple[float, float] | tuple[tuple[float, float], ...]
) -> list[tuple[float, float]]:
    pairs = [pair for pair in bounds if isinstance(pair, tuple)]
    if not pairs:
        return [bounds] * f.classes  # type: ignore[list-item]
    if len(pairs) != f.classes:
        raise ConfigError(
            f"bounds must have one pair a class ({f.classes}, the background included); got "
            f"{len(pairs)}."
        )
    return pairs
