"""The axes of a volume in a graph: from the source to the working grid, windows on it, and back.

An axis can be cut into parts, so that what is worked on at a time stays small whatever the volume.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from tfseg.inference.windows import window_profile
from tfseg_export.resample_graph import Taps, linear_taps


class Windows(NamedTuple):
    """The windows along one axis of the padded working grid."""

    size: int
    starts: tf.Tensor  # (count,) int32
    weights: tf.Tensor  # (count, size) float32; those that cover a voxel add up to 1
    padded: tf.Tensor  # () int32: axis length, never below ``size``
    before: tf.Tensor  # () int32: padding in front


class Axis(NamedTuple):
    """One axis, or a part of one: source to working grid, the windows on it, and back."""

    source: tf.Tensor  # () int32: voxels that get labels
    working: tf.Tensor  # () int32: voxels that windows see
    read: tuple[tf.Tensor, tf.Tensor]  # () int32: first source voxel that is read, and last
    forth: Taps  # of the source voxels that are read
    windows: Windows
    kept: tuple[tf.Tensor, tf.Tensor]  # () int32: first padded voxel that labels need, and count
    back: Taps  # of the kept voxels

    def part(self, number: tf.Tensor, count: tf.Tensor) -> Axis:
        """Return part ``number`` of ``count`` of a whole axis, with all windows that it needs."""
        begin, end = _bound(self.source, number, count), _bound(self.source, number + 1, count)
        back, low, high = self.back.part(begin, end)
        windows, before = self.windows, self.windows.before
        first, stop = self._touching(low, high)
        starts = windows.starts[first:stop]
        start, reach = starts[0], starts[-1] + windows.size
        seen_from, seen_to = tf.maximum(start - before, 0), tf.minimum(reach - before, self.working)
        forth, *read = self.forth.part(seen_from, seen_to)
        return Axis(
            source=end - begin,
            working=seen_to - seen_from,
            read=(read[0], read[1]),
            forth=forth,
            windows=Windows(
                size=windows.size,
                starts=starts - start,
                weights=windows.weights[first:stop],
                padded=reach - start,
                before=tf.maximum(before - start, 0),
            ),
            kept=(low + before - start, high - low + 1),
            back=back,
        )

    def widest(self, count: tf.Tensor) -> tf.Tensor:
        """Return how many padded voxels the widest of ``count`` parts has, () int32."""
        numbers = tf.range(count)
        begins = _bound(self.source, numbers, count)
        ends = _bound(self.source, numbers + 1, count)
        low = tf.gather(self.back.first, begins)
        high = tf.gather(self.back.others[0], ends - 1)
        first, stop = self._touching(low, high)
        starts = self.windows.starts
        return tf.reduce_max(
            tf.gather(starts, stop - 1) + self.windows.size - tf.gather(starts, first)
        )

    def most_parts(self) -> tf.Tensor:
        """Return into how many parts the axis can be cut: none is narrower than half a window."""
        return tf.maximum(tf.minimum(2 * self.working // self.windows.size, self.source), 1)

    def _touching(self, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the first window that reaches working voxels [low, high], and the one after."""
        windows = self.windows
        lowest, highest = (tf.reshape(one + windows.before, [-1]) for one in (low, high))
        first = tf.searchsorted(windows.starts, lowest - windows.size, side="right")
        stop = tf.searchsorted(windows.starts, highest, side="right")
        return tf.reshape(first, tf.shape(low)), tf.reshape(stop, tf.shape(low))


def whole_axis(
    source: tf.Tensor, working: tf.Tensor, forth: Taps, size: int, overlap: float
) -> Axis:
    """Return an axis of ``source`` voxels, resampled to ``working`` by ``forth``.

    Args:
        source: () int32.
        working: () int32.
        forth: the sampling.
        size: of the windows, in working voxels.
        overlap: of neighbouring windows, as a share of ``size``.
    """
    windows = _windows(working, size, overlap)
    zero = tf.constant(0)
    return Axis(
        source=source,
        working=working,
        read=(zero, source - 1),
        forth=forth,
        windows=windows,
        kept=(windows.before, working),
        back=linear_taps(working, source),
    )


def _bound(length: tf.Tensor, number: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    wide = tf.cast(length, tf.int64) * tf.cast(number, tf.int64)
    return tf.cast(wide // tf.cast(count, tf.int64), tf.int32)


def _windows(length: tf.Tensor, size: int, overlap: float) -> Windows:
    """Return windows of ``size`` voxels that cover an axis of ``length`` voxels evenly."""
    padded = tf.maximum(length, size)
    step = max(1, math.floor(size * (1 - overlap)))
    gaps = -(-(padded - size) // step)  # rounds up
    spread = tf.cast(padded - size, tf.float64) / tf.cast(tf.maximum(gaps, 1), tf.float64)
    starts = tf.cast(tf.round(tf.cast(tf.range(gaps + 1), tf.float64) * spread), tf.int32)
    bell = tf.constant(window_profile(size), tf.float64)  # (size,)
    voxels = starts[:, tf.newaxis] + tf.range(size)  # (count, size)
    bells = tf.broadcast_to(bell, tf.shape(voxels))
    sums = tf.math.unsorted_segment_sum(bells, voxels, padded)  # (padded,)
    return Windows(
        size=size,
        starts=starts,
        weights=tf.cast(bell / tf.gather(sums, voxels), tf.float32),
        padded=padded,
        before=(padded - length) // 2,
    )
