"""Resampling along one axis in a graph; see :mod:`tfseg.preprocess.resample`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfseg_export.slices_graph import mirrored

# An interpolating cubic spline reaches over the whole axis, but 14 voxels away a value counts
# less than 1e-7: (2 - sqrt(3))**14 times sqrt(3).
_POLE = np.sqrt(3) - 2
_REACH = 14


class Taps(NamedTuple):
    """What each of n_out samples along an axis is made of: ``v0 + sum_t w_t (v_t - v0)``.

    In this form a constant stays the same to the bit, whatever the weights' rounding.
    """

    first: tf.Tensor  # (n_out,) int32: where v0 lies
    others: tf.Tensor  # (taps, n_out) int32
    weights: tf.Tensor  # (taps, n_out) float32
    trivial: tf.Tensor  # () bool: n_in == n_out, so sample i is voxel i

    def part(self, begin: tf.Tensor, end: tf.Tensor) -> tuple[Taps, tf.Tensor, tf.Tensor]:
        """Return the taps of samples [begin, end) counted from the first voxel that they need.

        Returns:
            Them, that voxel, and the last one that they need.
        """
        first, others = self.first[begin:end], self.others[:, begin:end]
        low = tf.minimum(tf.reduce_min(first), tf.reduce_min(others))
        high = tf.maximum(tf.reduce_max(first), tf.reduce_max(others))
        moved = Taps(first - low, others - low, self.weights[:, begin:end], self.trivial)
        return moved, low, high


def linear_taps(n_in: tf.Tensor, n_out: tf.Tensor) -> Taps:
    """Return the linear sampling of n_out cell centres among n_in; the edges repeat."""
    lower, share = _places(n_in, n_out)
    # The voxel itself where nothing is in between.
    upper = lower + tf.cast(share > 0, tf.int32)
    weights = tf.cast(share, tf.float32)
    return Taps(lower, upper[tf.newaxis], weights[tf.newaxis], tf.equal(n_in, n_out))


def cubic_taps(n_in: tf.Tensor, n_out: tf.Tensor, linear: tf.Tensor) -> Taps:
    """Return the sampling of n_out cell centres by cubic B-splines through n_in voxels.

    Args:
        n_in: voxels of the axis.
        n_out: samples.
        linear: () bool; whether this axis is linear all the same.
    """
    base, share = _places(n_in, n_out)
    trivial = tf.equal(n_in, n_out)
    steps = tf.range(-_REACH, _REACH + 2)[:, tf.newaxis]  # (taps, 1)
    others = tf.where(trivial, base, mirrored(base + steps, n_in))
    rest = 1 - share
    splines = tf.stack(
        [
            rest**3 / 6,
            2 / 3 - share**2 * (2 - share) / 2,
            2 / 3 - rest**2 * (2 - rest) / 2,
            share**3 / 6,
        ],
        axis=1,
    )  # (n_out, 4): of the splines about voxels -1, 0, 1, 2
    cubic = tf.matmul(tf.constant(_spline_filter()), splines, transpose_a=True, transpose_b=True)
    straight = tf.where(tf.equal(steps, 1), share, tf.zeros_like(share))
    weights = tf.cast(tf.where(linear, straight, cubic), tf.float32)
    return Taps(base, others, weights, trivial)


def interpolate(array: tf.Tensor, taps: Taps, axis: int) -> tf.Tensor:
    """Sample ``array`` along ``axis``; it is returned as it is where nothing would change."""
    count = taps.weights.shape[0]

    def sample() -> tf.Tensor:
        base = tf.gather(array, taps.first, axis=axis)

        def of(number: tf.Tensor | int) -> tf.Tensor:
            weight = tf.reshape(taps.weights[number], (-1,) + (1,) * (array.shape.rank - 1 - axis))
            return (tf.gather(array, taps.others[number], axis=axis) - base) * weight

        if count == 1:
            return base + of(0)
        # One tap after the other: all at once would hold as many copies of the array.
        _, total = tf.while_loop(
            lambda number, _: number < count,
            lambda number, total: (number + 1, total + of(number)),
            (tf.constant(0), base),
            shape_invariants=(tf.TensorShape(()), base.shape),
            parallel_iterations=1,
        )
        return total

    return tf.cond(taps.trivial, lambda: array, sample)


def _places(n_in: tf.Tensor, n_out: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the voxel at or before each of n_out cell centres, and the share of the way on."""
    wide_in, wide_out = tf.cast(n_in, tf.float64), tf.cast(n_out, tf.float64)
    centres = (tf.cast(tf.range(n_out), tf.float64) + 0.5) * (wide_in / wide_out) - 0.5
    centres = tf.clip_by_value(centres, 0.0, wide_in - 1)
    floor = tf.floor(centres)
    return tf.cast(floor, tf.int32), centres - floor


def _spline_filter() -> np.ndarray:
    """Return how much each voxel gives to the coefficients about voxels -1, 0, 1, 2: (4, taps).

    The inverse of the B-spline's samples 1/6, 2/3, 1/6 is ``sqrt(3) p**|k|`` with the pole p
    (Unser 1999, doi:10.1109/79.799930, box 2).
    """
    splines = np.arange(-1, 3)[:, np.newaxis]
    voxels = np.arange(-_REACH, _REACH + 2)
    return np.asarray(np.sqrt(3) * _POLE ** np.abs(voxels - splines), np.float64)
