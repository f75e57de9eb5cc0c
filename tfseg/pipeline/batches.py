"""Patches as a tf.data pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.pipeline.patches import PatchSampler


def patch_batches(
    sampler: PatchSampler, *, batch_size: int, first_step: int, last_step: int, workers: int = 2
) -> Any:
    """Return a ``tf.data.Dataset`` of (images, labels[, maps]).

    It has the steps ``first_step``..``last_step``-1.

    Batch s holds patches s * batch_size up to (s + 1) * batch_size - 1, whatever step it starts
    from and however many threads work: a resumed run sees the patches it would have seen.

    Args:
        sampler: draws a patch from its number.
        batch_size: over all replicas.
        workers: patches made at the same time.
    """
    size = sampler.plan.patch_size
    parts = [(tf.float32, (*size, len(sampler.plan.channels))), (tf.uint8, size)]
    if sampler.has_map:
        parts.append((tf.float32, size))

    def draw(index: np.int64) -> tuple[Any, ...]:
        return sampler(int(index))

    def load(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # A pure function of the index: saying so lets the map run in parallel in order.
        patch = tf.numpy_function(
            draw, [index], [dtype for dtype, _ in parts], stateful=False, name="patch"
        )
        for tensor, (_, shape) in zip(patch, parts, strict=True):
            tensor.set_shape(shape)
        return tuple(patch)

    numbers = tf.data.Dataset.range(first_step * batch_size, last_step * batch_size)
    patches = numbers.map(load, num_parallel_calls=workers, deterministic=True)
    # All sizes are given, so there is nothing for tf.data to tune; and its tuner sleeps twice as
    # long each time, and often misses being woken when the iterator is deleted, which then waits
    # for it: an epoch took up to twice its time.
    options = tf.data.Options()
    options.autotune.enabled = False
    return patches.batch(batch_size, drop_remainder=True).prefetch(2).with_options(options)
