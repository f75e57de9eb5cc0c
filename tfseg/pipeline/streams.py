"""Streams of samples, each a pure function of its number, joined into batches by tf.data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfseg.pipeline.patches import PatchSampler

Sample = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Stream:
    """Samples by number.

    Attributes:
        draw: sample number -> arrays by name, the same whenever it is asked.
        signature: name -> (dtype, shape) of a sample's arrays.
        batch_size: samples a step, over all replicas.
    """

    draw: Callable[[int], Sample]
    signature: Mapping[str, tuple[str, tuple[int, ...]]]
    batch_size: int


def labelled(sampler: PatchSampler) -> Stream:
    """Return the stream of a sampler's patches: image, label and, where it has one, voxel_map."""
    plan = sampler.plan
    signature: dict[str, tuple[str, tuple[int, ...]]] = {
        "image": ("float32", (*plan.patch_size, len(plan.channels))),
        "label": ("uint8", plan.patch_size),
    }
    if sampler.has_map:
        signature["voxel_map"] = ("float32", plan.patch_size)

    def draw(index: int) -> Sample:
        return dict(zip(signature, sampler(index), strict=True))

    return Stream(draw, signature, plan.batch_size)


def batches(
    streams: Mapping[str, Stream],
    *,
    first_step: int,
    last_step: int,
    workers: int = 2,
    share: tuple[int, int] = (0, 1),
) -> Any:
    """Return a ``tf.data.Dataset`` of batches: stream -> name -> tensor (batch, ...).

    It has the steps ``first_step``..``last_step``-1. Batch s of a stream holds its samples
    s * batch_size up to (s + 1) * batch_size - 1, whatever step it starts from and however many
    threads work: a resumed run sees the samples it would have seen.

    Args:
        streams: by name.
        workers: samples of a stream made at the same time.
        share: (i, n) gives the i-th of n equal parts of every batch alone, neighbouring samples:
            what one of n machines learns from.
    """
    parts = {
        name: _samples(stream, first_step, last_step, workers, share)
        for name, stream in streams.items()
    }
    # All sizes are given, so there is nothing for tf.data to tune; and its tuner sleeps twice as
    # long each time, and often misses being woken when the iterator is deleted, which then waits
    # for it: an epoch took up to twice its time.
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.zip(parts).prefetch(2).with_options(options)


def _samples(
    stream: Stream, first_step: int, last_step: int, workers: int, share: tuple[int, int]
) -> Any:
    names = tuple(stream.signature)
    dtypes = [tf.as_dtype(dtype) for dtype, _ in stream.signature.values()]

    def draw(index: np.int64) -> list[NDArray[Any]]:
        sample = stream.draw(int(index))
        return [sample[name] for name in names]

    def load(index: tf.Tensor) -> dict[str, tf.Tensor]:
        # A pure function of the index: saying so lets the map run in parallel in order.
        arrays = tf.numpy_function(draw, [index], dtypes, stateful=False, name="sample")
        for tensor, (_, shape) in zip(arrays, stream.signature.values(), strict=True):
            tensor.set_shape(shape)
        return dict(zip(names, arrays, strict=True))

    index, count = share
    size = stream.batch_size // count

    def number(place: tf.Tensor) -> tf.Tensor:
        return place // size * stream.batch_size + index * size + place % size

    numbers = tf.data.Dataset.range(first_step * size, last_step * size).map(number)
    samples = numbers.map(load, num_parallel_calls=workers, deterministic=True)
    return samples.batch(size, drop_remainder=True)
