"""Distances between images: absolute, squared, smooth, and at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import tensorflow as tf
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.losses.fields import Fields
from tfseg.losses.overlap import Positive

Levels = Annotated[int, Field(ge=1, le=8)]
Mode = Literal["mean", "concat"]


def mae(f: Fields) -> tf.Tensor:
    """Return the mean over voxels and channels of |p - q|, (batch,) in [0, 1].

    Bounded for a voxel whose label is wrong, unlike the cross-entropy: Ghosh et al. 2017,
    arXiv:1712.09482.
    """
    return _channel_mean(f, tf.abs(f.p - f.q))


def mse(f: Fields) -> tf.Tensor:
    """Return the mean over voxels and channels of (p - q)^2, (batch,) in [0, 1].

    The score of Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    return _channel_mean(f, tf.math.squared_difference(f.p, f.q))


def smooth_l1(f: Fields, *, beta: Positive = 1.0) -> tf.Tensor:
    """Return the mean over voxels and channels of h(p - q), (batch,) >= 0.

    h(d) = d^2 / (2 beta) where |d| < beta, and |d| - beta / 2 elsewhere: Girshick 2015,
    arXiv:1504.08083.

    Args:
        f: targets and probabilities; all channels count unless the settings say otherwise.
        beta: where the parabola becomes a line.
    """
    return _channel_mean(f, _smooth(f.p - f.q, beta))


def mean_absolute(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return the mean of |a - b| over all axes but the first: (batch, ...) -> (batch,)."""
    return sample_mean(tf.abs(widen(a) - widen(b)))


def mean_squared(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return the mean of (a - b)^2 over all axes but the first: (batch, ...) -> (batch,)."""
    return sample_mean(tf.math.squared_difference(widen(a), widen(b)))


def mean_smooth_l1(a: tf.Tensor, b: tf.Tensor, beta: float = 1.0) -> tf.Tensor:
    """Return the mean of :func:`smooth_l1`'s h(a - b): (batch, ...) -> (batch,).

    For box coordinates and images, of any unit; ``beta`` is in the same.
    """
    return sample_mean(_smooth(widen(a) - widen(b), beta))


def multiscale_l1(f: Fields, *, levels: Levels = 3, mode: Mode = "mean") -> tf.Tensor:
    """Return the distance of the image times p from the image times q at L scales, (batch,) >= 0.

    Scale i is average pooling by 2^i, i = 0 ... L-1; its distance is the mean of the absolute
    differences. SegAN, Xue et al. 2017, arXiv:1706.01805, with poolings where the paper trains a
    critic (for that see ``multiscale_l1_term``). Each class has a masked image of its own.

    Args:
        f: targets, probabilities and the image; class 0 does not count unless the settings say
            so. Ignored voxels are black in both images: they change neither value nor gradient,
            and the divisor is the whole grid's. Voxel weights scale both images.
        levels: L. At a border, a pool averages the voxels that there are.
        mode: ``mean`` over the scales of their means, as in the paper; ``concat``: the mean over
            the elements of all scales together, as in the authors' code.

    Raises:
        ConfigError: the image is missing.
    """
    if f.image is None:
        raise ConfigError("multiscale_l1 needs the network's input; pass image=.")
    difference = f.q - f.p
    for factor in (f.valid, f.weights):
        if factor is not None:
            difference *= factor[..., tf.newaxis]
    # Pooling is linear: that of the difference is the difference of the pooled.
    channels = f.image.shape[-1]
    masked = difference[..., tf.newaxis] * f.image[..., tf.newaxis, :]  # (batch, ..., k, c)
    flat = tf.concat([tf.shape(difference)[:-1], [f.classes * channels]], 0)
    masked = tf.reshape(masked, flat)
    masked.set_shape([*difference.shape[:-1], f.classes * channels])
    sums, counts = [], []
    for level in range(levels):
        pooled = _average(masked, 2**level) if level else masked
        axes = list(range(1, len(pooled.shape) - 1))
        each = tf.reduce_sum(tf.abs(pooled), axes)  # (batch, k * c)
        sums.append(tf.reduce_sum(tf.reshape(each, [-1, f.classes, channels]), -1))
        counts.append(_elements(pooled, f.dtype) / f.classes)
    return f.class_mean(join_scales(sums, counts, mode))


def join_scales(sums: Sequence[tf.Tensor], counts: Sequence[tf.Tensor], mode: str) -> tf.Tensor:
    """Return the mean over scales, from each one's sum of differences and number of elements.

    Args:
        sums: of one shape.
        counts: scalars.
        mode: ``mean`` of the means, or of all elements together (``concat``).
    """
    if mode == "concat":
        return tf.add_n(list(sums)) / tf.add_n(list(counts))
    means = [total / count for total, count in zip(sums, counts, strict=True)]
    return tf.add_n(means) / len(means)


def sample_mean(values: tf.Tensor) -> tf.Tensor:
    """Average over all axes but the first: (batch, ...) -> (batch,)."""
    return tf.reduce_mean(values, list(range(1, len(values.shape))))


def widen(values: tf.Tensor) -> tf.Tensor:
    """Return half precision as float32, where squares and means do not overflow."""
    values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) if values.dtype.size < 4 else values


def _channel_mean(f: Fields, values: tf.Tensor) -> tf.Tensor:
    # Exclusive channels are summed; two of them then cost twice what one sigmoid does.
    mean = f.voxel_mean(values)
    return mean / f.classes if f.exclusive else mean


def _smooth(difference: tf.Tensor, beta: float) -> tf.Tensor:
    size = tf.abs(difference)
    return tf.where(size < beta, 0.5 * difference**2 / beta, size - 0.5 * beta)


def _average(values: tf.Tensor, size: int) -> tf.Tensor:
    """Average over blocks: (batch, [z,] y, x, c) -> (batch, blocks, c), by 1 or 2 axes."""
    if len(values.shape) == 3:
        return tf.nn.avg_pool1d(values, size, size, "SAME")
    if len(values.shape) == 4:
        return tf.nn.avg_pool2d(values, size, size, "SAME")
    # Slices first, then along z: TensorFlow has no 3D pooling in float64 on a CPU.
    batch, depth, *_, channels = tf.unstack(tf.shape(values))
    merged = tf.reshape(values, tf.concat([[batch * depth], tf.shape(values)[2:]], 0))
    flat = tf.nn.avg_pool2d(merged, size, size, "SAME")
    columns = tf.reshape(flat, tf.stack([batch, depth, -1, channels]))
    return tf.nn.avg_pool2d(columns, [size, 1], [size, 1], "SAME")


def _elements(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return the number of elements a sample."""
    return tf.cast(tf.reduce_prod(tf.shape(values)[1:]), dtype)
