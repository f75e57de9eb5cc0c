"""Denoising of one channel (z, y, x) in a graph; see :mod:`tfseg.preprocess.denoise`."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from tfseg.preprocess.denoise import NOISE_FACTOR, NOISE_FLOOR, NOISE_MASK, gaussian_weights
from tfseg.steps import Gaussian, Median, NonLocalMeans
from tfseg_export.slices_graph import each_slice, mirror_padded, mirrored, sum_of_slices


def smooth_gaussian(channel: tf.Tensor, step: Gaussian) -> tf.Tensor:
    """Return (z, y, x) smoothed."""
    kernels = [
        gaussian_weights(sigma) if sigma else np.ones(1) for sigma in step.sigma_vox
    ]  # along z, y, x
    reach = [len(kernel) // 2 for kernel in kernels]

    def of_slice(index: tf.Tensor) -> tf.Tensor:
        slices = _around(channel, index, reach[0])  # (2 r + 1, y, x)
        plane = tf.tensordot(tf.constant(kernels[0], tf.float32), slices, 1)
        plane = mirror_padded(plane, (reach[1], reach[2]), (reach[1], reach[2]))
        plane = plane[tf.newaxis, :, :, tf.newaxis]
        for kernel, shape in ((kernels[1], (-1, 1, 1, 1)), (kernels[2], (1, -1, 1, 1))):
            plane = tf.nn.conv2d(
                plane, tf.reshape(tf.constant(kernel, tf.float32), shape), 1, "VALID"
            )
        return plane[0, :, :, 0]

    return each_slice(channel, of_slice)


def smooth_median(channel: tf.Tensor, step: Median) -> tf.Tensor:
    """Return the median of the box around each voxel of (z, y, x)."""
    deep, high, wide = step.size_vox
    middle = deep * high * wide // 2 + 1

    def of_slice(index: tf.Tensor) -> tf.Tensor:
        height, width = tf.shape(channel)[1], tf.shape(channel)[2]
        slices = _around(channel, index, deep // 2)
        boxes = []
        for layer in range(deep):
            margin = (high // 2, wide // 2)
            padded = mirror_padded(slices[layer], margin, margin)
            boxes += [
                padded[y : y + height, x : x + width]
                for y, x in itertools.product(range(high), range(wide))
            ]
        greatest = tf.math.top_k(tf.stack(boxes, axis=-1), middle).values  # in falling order
        return greatest[..., -1]

    return each_slice(channel, of_slice)


def smooth_nonlocal(channel: tf.Tensor, step: NonLocalMeans) -> tf.Tensor:
    """Return non-local means of (z, y, x), slice by slice."""
    sigma = _noise_std(channel)
    beyond = tf.cast(2 * tf.square(sigma), tf.float32)
    scale = tf.cast(tf.square(step.strength * sigma), tf.float32)
    search, patch = step.search_radius_vox, step.patch_radius_vox
    span = 2 * search + 1

    def of_slice(index: tf.Tensor) -> tf.Tensor:
        plane = channel[index]
        height, width = tf.shape(plane)[0], tf.shape(plane)[1]
        margin = (search + patch, search + patch)
        around = mirror_padded(plane, margin, margin)

        def moved(dy: tf.Tensor, dx: tf.Tensor, margin: int) -> tf.Tensor:
            begin = [search + patch + dy - margin, search + patch + dx - margin]
            return tf.slice(around, begin, [height + 2 * margin, width + 2 * margin])

        here = moved(tf.constant(0), tf.constant(0), patch)

        def add(
            number: tf.Tensor, weighted: tf.Tensor, weights: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            dy, dx = number // span - search, number % span - search
            squares = tf.square(moved(dy, dx, patch) - here)[tf.newaxis, :, :, tf.newaxis]
            distance = tf.nn.avg_pool2d(squares, 2 * patch + 1, 1, "VALID")[0, :, :, 0]
            weight = tf.exp(-tf.maximum(distance - beyond, 0.0) / scale)
            return number + 1, weighted + weight * moved(dy, dx, 0), weights + weight

        nothing = tf.zeros_like(plane)
        _, weighted, weights = tf.while_loop(
            lambda number, *_: number < span**2,
            add,
            (tf.constant(0), nothing, nothing),
            shape_invariants=(tf.TensorShape(()), plane.shape, plane.shape),
            parallel_iterations=1,
        )
        return weighted / weights

    return each_slice(channel, of_slice)


def _noise_std(channel: tf.Tensor) -> tf.Tensor:
    """Return the standard deviation of the noise, float64."""
    lowest = tf.reduce_min(channel)
    mask = tf.constant(NOISE_MASK[:, :, np.newaxis, np.newaxis])

    def total_and_count(plane: tf.Tensor) -> tf.Tensor:
        padded = mirror_padded(plane, (1, 1), (1, 1))[tf.newaxis, :, :, tf.newaxis]
        response = tf.abs(tf.nn.conv2d(padded, mask, 1, "VALID")[0, :, :, 0])
        inside = plane > lowest
        response = tf.cast(tf.where(inside, response, 0.0), tf.float64)
        return tf.stack([tf.reduce_sum(response), tf.math.count_nonzero(inside, dtype=tf.float64)])

    total, count = tf.unstack(sum_of_slices(channel, total_and_count, tf.float64, (2,)))
    return tf.maximum(NOISE_FACTOR * total / tf.maximum(count, 1.0), NOISE_FLOOR)


def _around(channel: tf.Tensor, index: tf.Tensor, reach: int) -> tf.Tensor:
    """Return the slices (2 reach + 1, y, x) about ``index``, mirrored at the ends."""
    slices = index + tf.range(-reach, reach + 1)
    return tf.gather(channel, mirrored(slices, tf.shape(channel)[0]))
