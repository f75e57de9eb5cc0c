"""The loops between a network and a label map: softmax, weighted sums, interpolation, argmax."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.compiled import compiled

_f32 = np.float32
_CHUNK = 4096  # numbers at a time: they stay in the processor's first cache

# exp as 2^n * e^r with |r| <= ln(2) / 2 and a polynomial for e^r (Cephes, expf): within 2 units
# in the last place, and compiled to vector instructions, which the C library's is not.
_LOWEST = _f32(-87.0)  # e^-87 is next to the smallest normal number
_LOG2_E, _HALF = _f32(1.4426950408889634), _f32(0.5)
_LN2_HIGH, _LN2_LOW = _f32(0.693359375), _f32(-2.12194440e-4)
_P0, _P1, _P2 = _f32(1.9875691500e-4), _f32(1.3981999507e-3), _f32(8.3334519073e-3)
_P3, _P4, _P5 = _f32(4.1665795894e-2), _f32(1.6666665459e-1), _f32(5.0000001201e-1)
_ONE, _BIAS, _MANTISSA = _f32(1), np.int32(127), np.int32(23)


@compiled
def add_weighted(answer, rows, y0, x0, z_weights, y_weights, x_weights, total):  # type: ignore[no-untyped-def]
    """Add a window's probabilities, weighted, to the sums.

    Args:
        answer: (z, y, x, classes) float32.
        rows: (z,) rows of ``total`` that the window's slices belong to.
        y0: first voxel in ``total``.
        x0: first voxel in ``total``.
        z_weights: (z,) and so on: the weight of a voxel is the product of three.
        y_weights: (y,).
        x_weights: (x,).
        total: (rows, y, x, classes) float32, changed in place.
    """
    depth, height, width, classes = answer.shape
    repeated = np.repeat(x_weights, classes)
    count = width * classes
    for z in range(depth):
        plane = total[rows[z]]
        for y in range(height):
            weight = z_weights[z] * y_weights[y]
            values = answer[z, y].reshape(count)
            target = plane[y0 + y, x0 : x0 + width].reshape(count)
            for i in range(count):
                target[i] += values[i] * (weight * repeated[i])


@partial(compiled, fused=True)
def add_softmax_weighted(answer, rows, y0, x0, z_weights, y_weights, x_weights, total):  # type: ignore[no-untyped-def]
    """Add the softmax of a window's logits, weighted, to the sums; see :func:`add_weighted`."""
    depth, height, width, classes = answer.shape
    lines = max(1, _CHUNK // (width * classes))
    most = lines * width
    by_class = np.empty((classes, most), np.float32)
    largest, scale = np.empty(most, np.float32), np.empty(most, np.float32)
    power = np.empty(most, np.int32)
    two_to_the = power.view(np.float32)
    by_voxel = np.empty((most, classes), np.float32)
    for z in range(depth):
        plane = total[rows[z]]
        logits = answer[z].reshape(height * width, classes)
        for first in range(0, height, lines):
            stop = min(first + lines, height)
            count = (stop - first) * width
            part = logits[first * width : stop * width]
            for c in range(classes):
                values = by_class[c]
                for i in range(count):
                    values[i] = part[i, c]
            largest[:] = by_class[0]
            for c in range(1, classes):
                values = by_class[c]
                for i in range(count):
                    largest[i] = max(largest[i], values[i])
            scale[:] = _f32(0)
            for c in range(classes):
                values = by_class[c]
                for i in range(count):
                    v = values[i] - largest[i]
                    v = _LOWEST if v < _LOWEST else v  # a NaN stays one
                    n = np.floor(v * _LOG2_E + _HALF)
                    r = v - n * _LN2_HIGH
                    r = r - n * _LN2_LOW
                    p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
                    values[i] = p * r * r + r + _ONE
                    power[i] = (np.int32(n) + _BIAS) << _MANTISSA
                for i in range(count):
                    values[i] *= two_to_the[i]
                    scale[i] += values[i]
            for y in range(first, stop):
                weight = z_weights[z] * y_weights[y]
                line = scale[(y - first) * width : (y - first + 1) * width]
                for x in range(width):
                    line[x] = weight * x_weights[x] / line[x]
            for c in range(classes):
                values = by_class[c]
                for i in range(count):
                    by_voxel[i, c] = values[i] * scale[i]
            for y in range(first, stop):
                size = width * classes
                line = by_voxel[(y - first) * width : (y - first + 1) * width].reshape(size)
                target = plane[y0 + y, x0 : x0 + width].reshape(size)
                for i in range(size):
                    target[i] += line[i]


@compiled
def interpolate_argmax(total, rows, z, y, x, labels, probabilities):  # type: ignore[no-untyped-def]
    """Interpolate probabilities linearly and take the likeliest label; the first wins a tie.

    The arithmetic is that of :func:`tfseg.preprocess.resample.resample_linear`: z, then y, then x.

    Args:
        total: (rows, y, x, classes) float32.
        rows: row of ``total`` of each slice that ``z`` may name.
        z: for each slice of the result: lower neighbour, upper neighbour, share of the upper.
        y: the same for its rows.
        x: the same for its columns.
        labels: (z, y, x) uint8, written.
        probabilities: (z, y, x, classes) float32, written; (z, y, x, 0) for none.

    Returns:
        The number of voxels without a likeliest label: their probabilities are NaN.
    """
    width, classes = total.shape[2], total.shape[3]
    size = width * classes
    columns = labels.shape[2]
    z0, z1, z_share = z
    y0, y1, y_share = y
    x0, x1, x_share = x
    first_row, second_row = np.empty(size, np.float32), np.empty(size, np.float32)
    apart = np.empty((columns, classes), np.float32)
    straight = not x_share.any() and x0[-1] - x0[0] + 1 == columns  # no column lies between two
    best, winner = np.empty(columns, np.float32), np.empty(columns, np.uint8)
    lost = 0
    for i in range(labels.shape[0]):
        low, high, share = total[rows[z0[i]]], total[rows[z1[i]]], z_share[i]
        for j in range(labels.shape[1]):
            source = low[y0[j]].reshape(size)
            if share > 0:
                source = _between(source, high[y0[j]].reshape(size), share, first_row)
            if y_share[j] > 0:
                beside = low[y1[j]].reshape(size)
                if share > 0:
                    beside = _between(beside, high[y1[j]].reshape(size), share, second_row)
                source = _between(source, beside, y_share[j], first_row)
            across = source.reshape(width, classes)
            line = across[x0[0] : x0[0] + columns] if straight else apart
            for k in range(0 if straight else columns):
                first, second, part = across[x0[k]], across[x1[k]], x_share[k]
                for c in range(classes):
                    line[k, c] = first[c] + (second[c] - first[c]) * part
            best[:] = _f32(-1)
            winner[:] = 0
            for c in range(classes):
                for k in range(columns):
                    better = line[k, c] > best[k]
                    best[k] = line[k, c] if better else best[k]
                    winner[k] = np.uint8(c) if better else winner[k]
            labels[i, j] = winner
            for k in range(columns):
                lost += best[k] < 0
            if probabilities.shape[3]:
                probabilities[i, j] = line
    return lost


@compiled
def _between(low, high, share, result):  # type: ignore[no-untyped-def]
    for i in range(result.size):
        result[i] = low[i] + (high[i] - low[i]) * share
    return result


@compiled
def _is_constant(window):  # type: ignore[no-untyped-def]
    first = window[0, 0, 0]
    for z in range(window.shape[0]):
        for y in range(window.shape[1]):
            for x in range(window.shape[2]):
                for c in range(window.shape[3]):
                    if window[z, y, x, c] != first[c]:
                        return False
    return True


def constant(window: NDArray[np.float32]) -> bytes | None:
    """Return the one value that all voxels of a window (z, y, x, c) have, or ``None``.

    Values are compared bit by bit: what has one is the same input to a network.
    """
    bits: NDArray[Any] = window.view(np.uint32)
    return bits[0, 0, 0].tobytes() if _is_constant(bits) else None
