"""The plan's normalisation as TensorFlow operations, for the whole-volume signature.

The same rules as :mod:`tfseg.preprocess.normalise`. Each volume's statistics are taken slice by
slice, so that they need no copy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.plan import (
    ClipZScore,
    MinMax,
    NonzeroZScore,
    Percentiles,
    Plan,
    Scale,
    Window,
    ZScore,
)
from tfseg.preprocess.normalise import STD_FLOOR
from tfseg_export.slices_graph import sum_of_slices

_Plane = Callable[[tf.Tensor], tf.Tensor]

# A percentile is found by refining a histogram: 3 rounds of 4096 bins part a range into 2**36.
_BINS, _ROUNDS = 4096, 3


def normaliser(plan: Plan, volume: tf.Tensor) -> _Plane:
    """Return the function (z, y, x, c) -> (z, y, x, c) for any part of ``volume``."""
    rows = [
        _constants(channel.normalisation, volume[..., index])
        for index, channel in enumerate(plan.channels)
    ]
    low, high, offset, scale = (
        tf.stack([tf.cast(value, tf.float32) for value in row]) for row in zip(*rows, strict=True)
    )
    kept = [isinstance(channel.normalisation, NonzeroZScore) for channel in plan.channels]

    def normalise(part: tf.Tensor) -> tf.Tensor:
        part = tf.debugging.check_numerics(part, "volume holds NaN or infinite voxels")
        answer = (tf.clip_by_value(part, low, high) - offset) / scale
        if any(kept):
            answer = tf.where(tf.constant(kept) & tf.equal(part, 0.0), 0.0, answer)
        return answer

    return normalise


def _constants(rule: Any, channel: tf.Tensor) -> tuple[Any, Any, Any, Any]:
    """Return low, high, offset and scale of ``(clip(v, low, high) - offset) / scale``."""
    if isinstance(rule, ClipZScore):
        return rule.low, rule.high, rule.mean, rule.std
    if isinstance(rule, Window):
        return rule.low, rule.high, rule.low, rule.high - rule.low
    if isinstance(rule, Scale):
        return -np.inf, np.inf, rule.offset, rule.scale
    if isinstance(rule, MinMax):
        low, high = tf.reduce_min(channel), tf.reduce_max(channel)
        return low, high, low, tf.maximum(high - low, STD_FLOOR)
    if isinstance(rule, Percentiles):
        low, high = (percentile(channel, share) for share in (rule.low, rule.high))
        mean, std = _mean_and_std(channel, lambda plane: tf.clip_by_value(plane, low, high))
        return low, high, mean, std
    if isinstance(rule, ZScore):
        return -np.inf, np.inf, *_mean_and_std(channel)
    if isinstance(rule, NonzeroZScore):
        return -np.inf, np.inf, *_mean_and_std(channel, counted=lambda plane: plane != 0)
    raise TypeError(f"no graph of normalisation {type(rule).__name__}")


def _mean_and_std(
    channel: tf.Tensor, seen: _Plane = tf.identity, counted: _Plane | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return mean and population standard deviation of (z, y, x), in float64.

    Args:
        channel: the voxels.
        seen: what is taken of a slice.
        counted: which voxels of a slice count; by default all.
    """

    def sum_of(term: _Plane) -> tf.Tensor:
        def of_plane(plane: tf.Tensor) -> tf.Tensor:
            values = term(tf.cast(seen(plane), tf.float64))
            if counted is not None:
                values = tf.where(counted(plane), values, tf.zeros_like(values))
            return tf.reduce_sum(values)

        return sum_of_slices(channel, of_plane, tf.float64)

    voxels = tf.maximum(sum_of(tf.ones_like), 1.0)
    mean = sum_of(tf.identity) / voxels
    variance = sum_of(lambda plane: tf.square(plane - mean)) / voxels
    return mean, tf.maximum(tf.sqrt(variance), STD_FLOOR)


def percentile(channel: tf.Tensor, share: float) -> tf.Tensor:
    """Return the percentile, linear between the two nearest voxels as NumPy has it."""
    last = tf.cast(tf.size(channel, out_type=tf.int64) - 1, tf.float64)
    place = last * (share / 100)
    below = tf.floor(place)
    first = _order_statistic(channel, tf.cast(below, tf.int64))
    second = _order_statistic(channel, tf.cast(tf.minimum(below + 1, last), tf.int64))
    return tf.cast(first + (second - first) * (place - below), tf.float32)


def _order_statistic(channel: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
    """Return the voxel with ``rank`` smaller ones, within 2**-36 of the range, float64."""
    low = tf.cast(tf.reduce_min(channel), tf.float64)
    width = tf.cast(tf.reduce_max(channel), tf.float64) - low
    for _ in range(_ROUNDS):
        step = width / _BINS

        def counts_of(plane: tf.Tensor, low: tf.Tensor = low, step: tf.Tensor = step) -> tf.Tensor:
            bins = tf.floor(tf.math.divide_no_nan(tf.cast(plane, tf.float64) - low, step))
            # Bin 0 takes what is smaller, the last one what is larger.
            bins = tf.cast(tf.clip_by_value(bins, -1.0, float(_BINS)), tf.int32) + 1
            flat = tf.reshape(bins, [-1])
            return tf.cast(
                tf.math.bincount(flat, minlength=_BINS + 2, maxlength=_BINS + 2), tf.int64
            )

        counts = sum_of_slices(channel, counts_of, tf.int64, (_BINS + 2,))
        # The greatest value of a range falls on the upper edge of its last bin.
        counts = tf.tensor_scatter_nd_add(
            counts, [[_BINS], [_BINS + 1]], tf.stack([counts[_BINS + 1], -counts[_BINS + 1]])
        )
        found = tf.searchsorted(tf.cumsum(counts), [rank], side="right")[0]
        found = tf.clip_by_value(found - 1, 0, _BINS - 1)
        low += tf.cast(found, tf.float64) * step
        width = step
    return low + width / 2
