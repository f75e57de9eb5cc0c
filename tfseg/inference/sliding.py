"""Sliding-window inference in z slabs, with memory bounded by one slab.

A slab is as thick as the window. What no later window touches is final: it is handed on and
only the overlap is kept. Full-size class probabilities never exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.compiled import compiled
from tfseg.errors import ConfigError
from tfseg.inference.windows import window_starts, window_weights
from tfseg.plan import Plan
from tfseg.preprocess.resample import Shape, resample_linear, source_positions

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_SLICES_AT_ONCE = 8
Slab = tuple[int, NDArray[np.float32]]


def slabs(image: NDArray[np.float32], network: Network, plan: Plan) -> Iterator[Slab]:
    """Yield (first z, blended probabilities (n, y, x, classes)) covering ``image`` in order.

    What is yielded is a view that the next step changes.

    Args:
        image: prepared input (z, y, x, c).
        network: (1, [z,] y, x, c) of exactly the plan's patch size -> probabilities. One with a
            method ``stream(batches)`` is asked through that: it answers the windows in their
            order and may work on several at once.
        plan: patch size and overlap. A 2D network gets one slice at a time.
    """
    window = (1,) * (3 - plan.dims) + plan.patch_size
    size = image.shape[:3]
    padded, before = pad_to_window(image, window)
    starts = [
        window_starts(extent, width, plan.overlap)
        for extent, width in zip(padded.shape[:3], window, strict=True)
    ]
    weights = [
        window_weights(extent, width, start)
        for extent, width, start in zip(padded.shape[:3], window, starts, strict=True)
    ]
    crop = tuple(slice(low, low + extent) for low, extent in zip(before, size, strict=True))
    open_slab = np.zeros((window[0], *padded.shape[1:3], plan.num_classes), np.float32)
    answers = getattr(network, "stream", partial(map, network))(
        _batches(padded, window, starts, plan.dims)
    )
    for index, z in enumerate(starts[0]):
        for row, y in enumerate(starts[1]):
            for column, x in enumerate(starts[2]):
                weight = (
                    weights[0][index][:, np.newaxis, np.newaxis]
                    * weights[1][row][:, np.newaxis]
                    * weights[2][column]
                )
                answer = _checked(next(answers), plan).reshape(*window, -1)
                target = open_slab[:, y : y + window[1], x : x + window[2]]
                target += answer * weight[..., np.newaxis]
        last = index + 1 == len(starts[0])
        final = window[0] if last else starts[0][index + 1] - z
        low, high = max(z, crop[0].start), min(z + final, crop[0].stop)
        if high > low:
            yield low - crop[0].start, open_slab[low - z : high - z, crop[1], crop[2]]
        if not last:
            for row in range(window[0] - final):  # in place: a slab of many classes takes gigabytes
                open_slab[row] = open_slab[row + final]
            open_slab[window[0] - final :] = 0


def segment_array(
    image: NDArray[np.float32],
    network: Network,
    plan: Plan,
    shape: Shape | None = None,
    progress: Callable[[float], None] | None = None,
    keep: Callable[[NDArray[np.float32]], None] | None = None,
) -> NDArray[np.uint8]:
    """Return the label map (z, y, x) uint8 of a prepared image, on a grid of ``shape``.

    Probabilities are interpolated linearly to ``shape`` (default: the image's own) and the most
    likely label is taken there; the first wins a tie.

    Args:
        progress: called with the finished share in (0, 1] after every slab.
        keep: called with the probabilities (n, y, x, classes) of every slab, in order; they are
            the caller's own.
    """
    shape = image.shape[:3] if shape is None else shape
    labels = np.empty(shape, np.uint8)
    z_position, y_position, x_position = (
        source_positions(extent, wanted)
        for extent, wanted in zip(image.shape[:3], shape, strict=True)
    )
    previous: NDArray[np.float32] | None = None
    done = 0
    for first, slab in slabs(image, network, plan):
        end = first + len(slab)
        if keep is not None:
            keep(np.copy(slab))
        # A few slices at a time: what they are copied to is small beside the slab.
        for low in range(first, end, _SLICES_AT_ONCE):
            part = slab[low - first :][:_SLICES_AT_ONCE]
            high = low + len(part)
            if previous is None:
                part = np.ascontiguousarray(part)
            else:
                # One slice of the part before, so that interpolation crosses the seam.
                part, low = np.concatenate([previous, part]), low - 1
            last = high == image.shape[0]
            stop = len(labels) if last else int(np.searchsorted(z_position, high - 1, side="right"))
            _interpolate_argmax(
                part, z_position[done:stop] - low, y_position, x_position, labels[done:stop]
            )
            done = stop
            previous = np.copy(part[-1:])
        if progress is not None:
            progress(end / image.shape[0])
    return labels


def probability_array(
    image: NDArray[np.float32], network: Network, plan: Plan, shape: Shape | None = None
) -> NDArray[np.float32]:
    """Return class probabilities (z, y, x, classes) on a grid of ``shape``.

    This holds all classes at full size: classes * 4 bytes a voxel. Ask only where they are
    wanted themselves.
    """
    full = np.concatenate([np.copy(slab) for _, slab in slabs(image, network, plan)])
    return full if shape is None else resample_linear(full, shape)


def _batches(
    padded: NDArray[np.float32], window: tuple[int, ...], starts: list[list[int]], dims: int
) -> Iterator[NDArray[np.float32]]:
    """Yield every window as a batch of one, in order of z, then y, then x."""
    for z, y, x in product(*starts):
        part = padded[z : z + window[0], y : y + window[1], x : x + window[2]]
        yield np.ascontiguousarray(part if dims == 2 else part[np.newaxis])


def _checked(answer: NDArray[np.float32], plan: Plan) -> NDArray[np.float32]:
    wanted = (1, *plan.patch_size, plan.num_classes)
    if answer.shape != wanted:
        raise ConfigError(
            f"a network must answer {wanted} for a window of the plan, one probability a voxel and "
            f"label; got {answer.shape}. Use the plan it was trained with, and padding=same."
        )
    return answer


def pad_to_window(image: NDArray[Any], window: tuple[int, ...]) -> tuple[NDArray[Any], list[int]]:
    """Return the image with zeros around it where it is smaller, and how many come first."""
    missing = [max(0, w - n) for n, w in zip(image.shape[:3], window, strict=True)]
    before = [count // 2 for count in missing]
    if not any(missing):
        return image, before
    margins = [(low, count - low) for low, count in zip(before, missing, strict=True)]
    return np.pad(image, [*margins, (0, 0)]), before


@compiled
def _interpolate_argmax(slab, z_position, y_position, x_position, labels):  # type: ignore[no-untyped-def]
    # slab (n, y, x, classes) float32; positions in voxels of the slab; labels written in place.
    classes = slab.shape[3]
    for i in range(labels.shape[0]):
        z0 = int(z_position[i])
        z1 = min(z0 + 1, slab.shape[0] - 1)
        wz = np.float32(z_position[i] - z0)
        for j in range(labels.shape[1]):
            y0 = int(y_position[j])
            y1 = min(y0 + 1, slab.shape[1] - 1)
            wy = np.float32(y_position[j] - y0)
            for k in range(labels.shape[2]):
                x0 = int(x_position[k])
                x1 = min(x0 + 1, slab.shape[2] - 1)
                wx = np.float32(x_position[k] - x0)
                best = np.float32(-1)
                winner = 0
                for c in range(classes):
                    # z, then y, then x: the order of resample_linear.
                    a = slab[z0, y0, x0, c]
                    a += (slab[z1, y0, x0, c] - a) * wz
                    b = slab[z0, y1, x0, c]
                    b += (slab[z1, y1, x0, c] - b) * wz
                    a += (b - a) * wy
                    if wx > 0:
                        d = slab[z0, y0, x1, c]
                        d += (slab[z1, y0, x1, c] - d) * wz
                        e = slab[z0, y1, x1, c]
                        e += (slab[z1, y1, x1, c] - e) * wz
                        d += (e - d) * wy
                        a += (d - a) * wx
                    if a > best:
                        best = a
                        winner = c
                labels[i, j, k] = winner
