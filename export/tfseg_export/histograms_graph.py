"""Steps on histograms of one channel in a graph; see :mod:`tfseg.preprocess.histograms`.

The same formulas, in the same order, in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.preprocess.histograms import MATCH_BINS
from tfseg.steps import Clahe, HistEqualise, HistMatch
from tfseg_export.slices_graph import each_slice, mean_of, mirror_padded, sum_of_slices


class _Levels(NamedTuple):
    """``number`` intensities from ``low`` on, ``1 / scale`` apart; ``scale`` 0 if all are one."""

    low: tf.Tensor  # () float64
    scale: tf.Tensor  # () float64
    number: int

    def places(self, values: tf.Tensor) -> tf.Tensor:
        """Return where values lie, in levels, float64."""
        return (tf.cast(values, tf.float64) - self.low) * self.scale


def _levels_of(channel: tf.Tensor, number: int) -> _Levels:
    low = tf.cast(tf.reduce_min(channel), tf.float64)
    high = tf.cast(tf.reduce_max(channel), tf.float64)
    steps = tf.constant(number - 1, tf.float64)
    return _Levels(low, tf.math.divide_no_nan(steps, high - low), number)


def hist_equalise(channel: tf.Tensor, step: HistEqualise) -> tf.Tensor:
    """Return (z, y, x) equalised to [0, 1]."""
    levels = _levels_of(channel, step.levels)
    counts = sum_of_slices(
        channel,
        lambda plane: _shared_counts(levels.places(plane), levels.number),
        tf.float64,
        (levels.number,),
    )
    voxels = tf.cast(tf.size(channel, out_type=tf.int64), tf.float64)
    curve = (tf.cumsum(counts) - counts[0]) / tf.maximum(voxels - counts[0], 1.0)
    return each_slice(
        channel, lambda index: _on_curve(levels.places(channel[index]), curve, 0, levels.number)
    )


def clahe(channel: tf.Tensor, step: Clahe) -> tf.Tensor:
    """Return (z, y, x) equalised to [0, 1] part by part, slice by slice."""
    levels = _levels_of(channel, step.levels)
    shape = tf.shape(channel)
    tile_y, tile_x = (-(-shape[axis] // step.tiles) for axis in (1, 2))
    tile = (tf.range(tile_y * step.tiles) // tile_y)[:, tf.newaxis] * step.tiles + tf.range(
        tile_x * step.tiles
    ) // tile_x  # (padded y, padded x)
    y_low, y_high, y_weight = _between_tiles(shape[1], tile_y, step.tiles)
    x_low, x_high, x_weight = _between_tiles(shape[2], tile_x, step.tiles)
    y_weight = y_weight[:, tf.newaxis]
    area = tf.cast(tile_y * tile_x, tf.float64)
    after = (tile_y * step.tiles - shape[1], tile_x * step.tiles - shape[2])

    def of_slice(index: tf.Tensor) -> tf.Tensor:
        places = levels.places(channel[index])
        padded = mirror_padded(places, (0, 0), after)
        counts = _shared_counts(padded, levels.number, tile, step.tiles**2)
        counts = tf.reshape(counts, (step.tiles**2, levels.number))
        curves = tf.reshape(_tile_curves(counts, step.clip_limit, area), [-1])

        def of(tile_row: tf.Tensor, tile_column: tf.Tensor) -> tf.Tensor:
            tiles = tile_row[:, tf.newaxis] * step.tiles + tile_column
            return _on_curve(places, curves, tiles * levels.number, levels.number)

        top = of(y_low, x_low) * (1 - x_weight) + of(y_low, x_high) * x_weight
        bottom = of(y_high, x_low) * (1 - x_weight) + of(y_high, x_high) * x_weight
        return top * (1 - y_weight) + bottom * y_weight

    return each_slice(channel, of_slice)


def _tile_curves(counts: tf.Tensor, limit: float, area: tf.Tensor) -> tf.Tensor:
    """Return cumulative shares (tiles, levels) of histograms cut at ``limit`` mean counts."""
    levels = counts.shape[1]
    cut = tf.minimum(counts, tf.maximum(limit * area / levels, 1.0))
    spread = (area - tf.reduce_sum(cut, axis=1, keepdims=True)) / levels
    return tf.cumsum(cut + spread, axis=1) / area


def _between_tiles(
    size: tf.Tensor, tile: tf.Tensor, tiles: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return for each of ``size`` voxels the tiles before and after it, and the latter's weight."""
    place = tf.cast(tf.range(size), tf.float64) / tf.cast(tile, tf.float64) - 0.5
    before = tf.floor(place)
    whole = tf.cast(before, tf.int32)
    low, high = (tf.clip_by_value(whole + near, 0, tiles - 1) for near in (0, 1))
    return low, high, place - before


def hist_match(channel: tf.Tensor, step: HistMatch) -> tf.Tensor:
    """Return (z, y, x) with its percentiles at the step's landmarks.

    Raises:
        ConfigError: the step has no landmarks.
    """
    if step.landmarks is None:
        raise ConfigError("hist_match must have landmarks; got none. Make the plan again.")
    source = _landmarks_of(channel, step.percentiles)
    target = np.array(step.landmarks)
    slopes = tf.math.divide_no_nan(
        tf.constant(np.diff(target)), tf.maximum(source[1:] - source[:-1], 0.0)
    )
    inner, target = source[1:-1], tf.constant(target)

    def of_slice(index: tf.Tensor) -> tf.Tensor:
        wide = tf.cast(channel[index], tf.float64)
        line = tf.searchsorted(inner, tf.reshape(wide, [-1]), side="right")
        line = tf.reshape(line, tf.shape(wide))
        return tf.gather(target, line) + (wide - tf.gather(source, line)) * tf.gather(slopes, line)

    return each_slice(channel, of_slice)


def _landmarks_of(channel: tf.Tensor, percentiles: tuple[float, ...]) -> tf.Tensor:
    """Return percentiles (n,) float64 of the voxels above the volume's mean."""
    threshold = mean_of(channel)
    low = tf.cast(threshold, tf.float64)
    width = tf.cast(tf.reduce_max(channel), tf.float64) - low
    scale = tf.math.divide_no_nan(tf.constant(MATCH_BINS, tf.float64), tf.maximum(width, 0.0))

    def counts_of(plane: tf.Tensor) -> tf.Tensor:
        inside = tf.boolean_mask(plane, plane > threshold)
        places = (tf.cast(inside, tf.float64) - low) * scale
        return _counts(tf.minimum(tf.cast(places, tf.int32), MATCH_BINS - 1), MATCH_BINS)

    counts = sum_of_slices(channel, counts_of, tf.int64, (MATCH_BINS,))
    cumulated = tf.cumsum(counts)
    wanted = tf.constant(np.array(percentiles) / 100) * tf.cast(cumulated[-1], tf.float64)
    found = tf.searchsorted(tf.cast(cumulated, tf.float64), wanted)
    before = tf.cast(tf.gather(cumulated - counts, found), tf.float64)
    here = tf.cast(tf.maximum(tf.gather(counts, found), 1), tf.float64)
    inner = (wanted - before) / here
    return low + (tf.cast(found, tf.float64) + inner) * (width / MATCH_BINS)


def _counts(bins: tf.Tensor, number: int) -> tf.Tensor:
    """Return how often each of ``number`` bins occurs, int64."""
    flat = tf.reshape(bins, [-1])
    found = tf.math.bincount(flat, minlength=number, maxlength=number, dtype=tf.int64)
    return tf.ensure_shape(found, (number,))


def _shared_counts(
    places: tf.Tensor, levels: int, tile: tf.Tensor | int = 0, tiles: int = 1
) -> tf.Tensor:
    """Return how often each level occurs, (tiles * levels,), a place counting for both beside."""
    lower = tf.minimum(tf.cast(places, tf.int32), levels - 2)
    share = tf.reshape(places - tf.cast(lower, tf.float64), [-1])
    lower = tf.reshape(lower + tile * levels, [-1])
    below = tf.math.unsorted_segment_sum(1 - share, lower, tiles * levels)
    return below + tf.math.unsorted_segment_sum(share, lower + 1, tiles * levels)


def _on_curve(places: tf.Tensor, curve: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """Return the curve that begins at ``start`` at places, linear between ``count`` levels."""
    lower = tf.minimum(tf.cast(places, tf.int32), count - 2)
    below, above = tf.gather(curve, start + lower), tf.gather(curve, start + lower + 1)
    return below + (above - below) * (places - tf.cast(lower, tf.float64))
