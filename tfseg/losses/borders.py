"""Losses that look at the borders between objects."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import Field

from tfseg.losses.balanced import frequency_weights, inverse_frequency
from tfseg.losses.cross_entropy import log_loss
from tfseg.losses.fields import Fields
from tfseg.losses.maps import unet_weight_map


def unet_weighted_ce(
    f: Fields,
    *,
    w0: Annotated[float, Field(ge=0)] = 10.0,
    sigma: Annotated[float, Field(gt=0)] = 5.0,
    balance: bool = False,
    seed_literal: bool = False,
) -> tf.Tensor:
    """Return the mean over voxels of -w log q(true class), (batch,).

    w = w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2)) with the distances to the two nearest cells, see
    :func:`tfseg.losses.maps.unet_weight_map`. Ronneberger et al. 2015, arXiv:1505.04597, whose
    formula of the energy lacks the minus sign.

    Args:
        f: targets and probabilities. ``voxel_map`` holds the second summand. Where there is
            none it is made from the labels on every call, on the CPU and outside of XLA: with
            ``jit_compile`` the map has to be given. Independent channels have cells, and a map,
            of their own then.
        w0: its largest value, where two cells touch.
        sigma: in voxels.
        balance: w_c is 1 / (n freq(c)) over the n classes that occur in the image; otherwise 1.
        seed_literal: the map is a summand of the loss, as printed in the survey, instead of a
            weight. Its gradient is then that of the cross-entropy without any map.
    """
    if f.voxel_map is None:
        border = _maps_of(f, w0, sigma)
    else:
        border = f.voxel_map[..., tf.newaxis]
    yes, no = frequency_weights(f, inverse_frequency) if balance else (1.0, 1.0)
    if seed_literal:
        # Once a voxel: exclusive channels are added up, and one of them is the true class.
        return f.voxel_mean(log_loss(f, yes, no) + border * (f.p if f.exclusive else 1.0))
    return f.voxel_mean(log_loss(f, yes + border, no + border))


def edge_weighted_ce(
    f: Fields,
    *,
    extra: Annotated[float, Field(ge=0)] = 1.0,
    width: Annotated[int, Field(ge=1, le=100)] = 2,
) -> tf.Tensor:
    """Return the cross-entropy with weight 1 + extra near the true edges, (batch,).

    Near is a voxel whose neighbourhood of 2 width + 1 voxels along each axis holds voxels of more
    than one class: a band of ``width`` voxels on both sides of an edge. After Wang et al.'s
    edge-aware FCN: CE + extra * CE within the band. The image's own border is no edge, nor is
    that of ignored voxels or voxels of weight 0, which belong to no neighbourhood.

    Args:
        f: targets and probabilities. Independent channels have bands of their own. Soft targets
            weigh with the span of their values in the neighbourhood.
        extra: additional weight in the band.
        width: of the band on each side, in voxels.
    """
    known = _counted(f)
    missing = 1 - known
    # Float32 is what pooling in 3D has on every device; hard targets lose nothing.
    highest = _highest_near(tf.cast(f.p * known, tf.float32), width)
    lowest = -_highest_near(tf.cast(-f.p * known - missing, tf.float32), width)
    band = tf.cast(tf.clip_by_value(highest - lowest, 0.0, 1.0), f.dtype)
    if f.exclusive:
        band = tf.reduce_max(band, -1, keepdims=True)
    weights = 1 + extra * tf.stop_gradient(band)
    return f.voxel_mean(log_loss(f, weights, weights))


def sobel_edge(f: Fields) -> tf.Tensor:
    """Return the mean over voxels of (|S q| - |S p|)^2, the mean over classes of that, (batch,).

    |S x| is the length of the gradient of x by the Sobel operators: differences x[i+1] - x[i-1]
    along one axis, smoothed by (1, 2, 1) along the others; a voxel beyond the image is like its
    nearest. Xu 2018 (CFUN), arXiv:1812.04914. Ignored voxels and voxels of weight 0 are 0 in
    both p and q, and are not counted.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
    """
    known = _counted(f)
    apart = _sobel_length(f.q * known) - _sobel_length(f.p * known)
    return f.class_mean(f.class_averages(tf.square(apart)))


def _counted(f: Fields) -> tf.Tensor:
    """Return 1 for voxels that count and 0 for others, (batch, [z,] y, x, 1)."""
    counted = tf.ones_like(f.p[..., :1])
    if f.valid is not None:
        counted *= f.valid[..., tf.newaxis]
    if f.weights is not None:
        counted *= tf.cast(f.weights > 0, f.dtype)[..., tf.newaxis]
    return counted


def _maps_of(f: Fields, w0: float, sigma: float) -> tf.Tensor:
    """Return the map of the labels: one for exclusive classes, else one a channel."""
    if f.exclusive:
        labels = tf.argmax(f.p, -1, output_type=tf.int32)[..., tf.newaxis]
    else:
        labels = tf.cast(f.p >= 0.5, tf.int32)

    def make(labels: NDArray[Any]) -> NDArray[np.float32]:
        maps = np.empty(labels.shape, np.float32)
        for sample in range(labels.shape[0]):
            for channel in range(labels.shape[-1]):
                maps[sample, ..., channel] = unet_weight_map(
                    labels[sample, ..., channel], w0, sigma
                )
        return maps

    found = tf.numpy_function(make, [labels], tf.float32, stateful=False)
    return tf.cast(tf.ensure_shape(found, labels.shape), f.dtype)


def _highest_near(values: tf.Tensor, width: int) -> tf.Tensor:
    """Return the maximum over 2 width + 1 voxels along each axis, (batch, [z,] y, x, k)."""
    rank = len(values.shape) - 2
    for axis in range(rank):
        window = [1] * (rank + 2)
        window[axis + 1] = 2 * width + 1
        values = tf.nn.max_pool(values, window, 1, "SAME")
    return values


def _sobel_length(x: tf.Tensor) -> tf.Tensor:
    """Return the length of the Sobel gradient, (batch, [z,] y, x, k)."""
    axes = range(1, len(x.shape) - 1)
    x = tf.pad(x, [(0, 0), *((1, 1) for _ in axes), (0, 0)], "SYMMETRIC")
    square: tf.Tensor | float = 0.0
    for along in axes:
        part = x
        for axis in axes:
            before, here, after = (_shifted(part, axis, start) for start in range(3))
            part = after - before if axis == along else before + 2 * here + after
        square += tf.square(part)
    # The root has no slope at 0; there the length is 0 and so is the slope that is passed on.
    positive = square > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, square, 1.0)), 0.0)


def _shifted(x: tf.Tensor, axis: int, start: int) -> tf.Tensor:
    cut = [slice(None)] * len(x.shape)
    cut[axis] = slice(start, (start - 2) or None)
    return x[tuple(cut)]
