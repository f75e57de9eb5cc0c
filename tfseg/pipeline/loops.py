"""Compiled loops over the voxels of a patch. Arrays are (z, y, x), contiguous float32."""

from __future__ import annotations

import numpy as np

from tfseg.compiled import compiled

_LANES = 16


@compiled
def mix(here, there, share):  # type: ignore[no-untyped-def]
    """Interpolate; equal values stay what they are, to the bit."""
    return here + share * (there - here)


@compiled
def read(volume, labels, values, matrix, centre, weights, knots, image, label, mapped):  # type: ignore[no-untyped-def]
    """Read a patch: voxel p is the volume's at ``centre + matrix (p - middle + d(p))``.

    The image is interpolated linearly, the label is the nearest voxel's; outside is 0.

    Args:
        volume: (z, y, x, c) float32.
        labels: (z, y, x) uint8.
        values: (z, y, x) float32, read as the image is; of size 0: none.
        matrix, centre: of the map, float64.
        weights: for z, y and x, (knots, voxels) float64: d is their product with the knots.
        knots: (3, n, n, n) float64, ``matrix`` times the displacement; n may be 0.
        image, label, mapped: (c, z, y, x), (z, y, x) and (z, y, x), written.
    """
    size_z, size_y, size_x = label.shape
    weights_z, weights_y, weights_x = weights
    bends = knots.size > 0
    row = np.empty((3, size_x))
    plane = np.empty((3, knots.shape[2], knots.shape[3]))
    first, nearest = np.empty(size_x, np.int64), np.empty(size_x, np.int64)
    step, share = np.empty((3, size_x), np.int64), np.empty((3, size_x), np.float32)
    flat_volume, flat_labels, flat_values = volume.ravel(), labels.ravel(), values.ravel()
    for i in range(size_z):
        if bends:
            for axis in range(3):
                for b in range(knots.shape[2]):
                    for c in range(knots.shape[3]):
                        total = 0.0
                        for a in range(knots.shape[1]):
                            total += weights_z[a, i] * knots[axis, a, b, c]
                        plane[axis, b, c] = total
        dz = i - (size_z - 1) / 2
        for j in range(size_y):
            dy = j - (size_y - 1) / 2
            for axis in range(3):
                begin = centre[axis] + matrix[axis, 0] * dz + matrix[axis, 1] * dy
                slope = matrix[axis, 2]
                for k in range(size_x):
                    row[axis, k] = begin + slope * (k - (size_x - 1) / 2)
                if bends:
                    for c in range(knots.shape[3]):
                        total = 0.0
                        for b in range(knots.shape[2]):
                            total += weights_y[b, j] * plane[axis, b, c]
                        for k in range(size_x):
                            row[axis, k] += total * weights_x[c, k]
            _locate(row, labels.shape, first, step, share, nearest)
            for c in range(image.shape[0]):
                _interpolate(flat_volume, image.shape[0], c, first, step, share, nearest,
                             image[c, i, j])  # fmt: skip
            if mapped.size:
                _interpolate(flat_values, 1, 0, first, step, share, nearest, mapped[i, j])
            for k in range(size_x):
                label[i, j, k] = flat_labels[nearest[k]] if nearest[k] >= 0 else 0


@compiled
def _locate(row, shape, first, step, share, nearest):  # type: ignore[no-untyped-def]
    # For every place of a row: the flat index of the voxel before it, the steps to those behind
    # along each axis and how far it is on the way, and the nearest voxel's index, -1 outside.
    # Without branches, so that it is done for several places at a time.
    stride = (shape[1] * shape[2], shape[2], 1)
    first[:] = 0
    nearest[:] = 0
    for axis in range(3):
        size = shape[axis]
        for k in range(first.size):
            place = min(max(row[axis, k], 0.0), size - 1.0)
            whole = np.int32(place)
            share[axis, k] = np.float32(place - whole)
            step[axis, k] = stride[axis] if whole < size - 1 else 0
            first[k] += whole * stride[axis]
            # 0.49999999999999994 + 0.5 rounds to 1.0: keep the last voxel the last.
            nearest[k] += min(np.int32(place + 0.5), np.int32(size - 1)) * stride[axis]
    end_z, end_y, end_x = shape[0] - 0.5, shape[1] - 0.5, shape[2] - 0.5
    for k in range(first.size):
        z, y, x = row[0, k], row[1, k], row[2, k]
        inside = (z >= -0.5) & (z < end_z) & (y >= -0.5) & (y < end_y) & (x >= -0.5) & (x < end_x)
        nearest[k] = nearest[k] if inside else -1


@compiled
def _interpolate(flat, channels, channel, first, step, share, nearest, result):  # type: ignore[no-untyped-def]
    for k in range(result.size):
        at = first[k] * channels + channel
        z, y, x = step[0, k] * channels, step[1, k] * channels, step[2, k] * channels
        wz, wy, wx = share[0, k], share[1, k], share[2, k]
        p, q = mix(flat[at], flat[at + x], wx), mix(flat[at + y], flat[at + y + x], wx)
        at += z
        r, s = mix(flat[at], flat[at + x], wx), mix(flat[at + y], flat[at + y + x], wx)
        value = mix(mix(p, q, wy), mix(r, s, wy), wz)
        result[k] = value if nearest[k] >= 0 else np.float32(0)


@compiled
def moments(values):  # type: ignore[no-untyped-def]
    """Return least, greatest, mean and standard deviation of a flat array."""
    sums, squares = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    low, high = np.full(_LANES, values[0]), np.full(_LANES, values[0])
    # About what some of them are, in float32 for a while, and with a lane for each number that
    # is worked on at the same time.
    some = values[:: max(values.size // 64, 1)]
    about = np.float32(some.sum() / some.size)
    total, total_squares = 0.0, 0.0
    for begin in range(0, values.size, _LANES * 64):
        sums[:] = 0
        squares[:] = 0
        end = min(begin + _LANES * 64, values.size)
        whole = begin + (end - begin) // _LANES * _LANES
        for k in range(begin, whole, _LANES):
            for lane in range(_LANES):
                value = values[k + lane]
                low[lane], high[lane] = min(low[lane], value), max(high[lane], value)
                sums[lane] += value - about
                squares[lane] += (value - about) * (value - about)
        for k in range(whole, end):
            value = values[k]
            low[0], high[0] = min(low[0], value), max(high[0], value)
            sums[0] += value - about
            squares[0] += (value - about) * (value - about)
        for lane in range(_LANES):
            total += sums[lane]
            total_squares += squares[lane]
    mean = total / values.size
    variance = max(total_squares / values.size - mean * mean, 0.0)
    return low.min(), high.max(), about + mean, np.sqrt(variance)


@compiled
def line(values, slope, offset, low, high):  # type: ignore[no-untyped-def]
    """Make ``slope v + offset`` of values in place, kept within bounds."""
    for k in range(values.size):
        values[k] = min(max(values[k] * slope + offset, low), high)


@compiled
def add_noise(values, table, levels, std):  # type: ignore[no-untyped-def]
    """Add ``std`` times what the table has for each level, in place."""
    for k in range(values.size):
        values[k] += std * table[levels[k]]


@compiled
def convolve(image, taps, result):  # type: ignore[no-untyped-def]
    """Filter along x with an odd number of taps; beyond the ends the last voxel goes on."""
    rows, size = image.shape
    reach = taps.size // 2
    padded = np.empty(size + 2 * reach, np.float32)
    for i in range(rows):
        padded[:reach] = image[i, 0]
        padded[reach : reach + size] = image[i]
        padded[reach + size :] = image[i, size - 1]
        result[i] = 0
        for tap in range(taps.size):
            weight = taps[tap]
            for k in range(size):
                result[i, k] += weight * padded[k + tap]


@compiled
def convolve_rows(image, taps, result):  # type: ignore[no-untyped-def]
    """Filter (before, along, after) along its middle axis as :func:`convolve` does."""
    before, size, after = image.shape
    reach = taps.size // 2
    for i in range(before):
        for j in range(size):
            result[i, j] = 0
            for tap in range(taps.size):
                weight = taps[tap]
                source = min(max(j + tap - reach, 0), size - 1)
                for k in range(after):
                    result[i, j, k] += weight * image[i, source, k]


@compiled
def blend(image, low, high, share, result):  # type: ignore[no-untyped-def]
    """Interpolate linearly: voxel i of axis a lies between ``low[a][i]`` and ``high[a][i]``."""
    low_z, low_y, low_x = low
    high_z, high_y, high_x = high
    share_z, share_y, share_x = share
    row = np.empty(image.shape[2], np.float32)
    for i in range(low_z.size):
        wz = share_z[i]
        for j in range(low_y.size):
            wy = share_y[j]
            p, q = image[low_z[i], low_y[j]], image[low_z[i], high_y[j]]
            r, s = image[high_z[i], low_y[j]], image[high_z[i], high_y[j]]
            for k in range(row.size):
                row[k] = mix(mix(p[k], q[k], wy), mix(r[k], s[k], wy), wz)
            for k in range(low_x.size):
                result[i, j, k] = mix(row[low_x[k]], row[high_x[k]], share_x[k])
