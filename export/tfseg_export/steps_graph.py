"""The steps before normalisation as TensorFlow operations, for the whole-volume signature.

The same rules as :mod:`tfseg.preprocess.steps`; a test holds the two together. A step makes its
result slice by slice, from as many slices as its filter spans: beside the volume and its copy
after each step, no more than a few dozen slices are held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg.plan import Plan
from tfseg.steps import (
    BiasField,
    Clahe,
    Clip,
    Gaussian,
    HistEqualise,
    HistMatch,
    Median,
    NonLocalMeans,
    PercentileClip,
)
from tfseg_export.bias_graph import correct_bias
from tfseg_export.denoise_graph import smooth_gaussian, smooth_median, smooth_nonlocal
from tfseg_export.histograms_graph import clahe, hist_equalise, hist_match
from tfseg_export.normalise_graph import percentile


def after_steps(plan: Plan, volume: tf.Tensor) -> tf.Tensor:
    """Return (z, y, x, c) raw intensities after the steps of each channel.

    Raises (when run):
        tf.errors.InvalidArgumentError: voxels that are not finite, where there are steps.
    """
    if not any(channel.steps for channel in plan.channels):
        return volume
    volume = tf.debugging.check_numerics(volume, "volume holds NaN or infinite voxels")
    channels = []
    for index, channel in enumerate(plan.channels):
        values = volume[..., index]
        for step in channel.steps:
            values = _APPLY[type(step)](values, step)
        channels.append(values)
    return tf.stack(channels, axis=-1)


def _clip(channel: tf.Tensor, step: Clip) -> tf.Tensor:
    return tf.clip_by_value(channel, step.low, step.high)


def _percentile_clip(channel: tf.Tensor, step: PercentileClip) -> tf.Tensor:
    return tf.clip_by_value(channel, percentile(channel, step.low), percentile(channel, step.high))


_APPLY: dict[type, Callable[[tf.Tensor, Any], tf.Tensor]] = {
    Clip: _clip,
    PercentileClip: _percentile_clip,
    Gaussian: smooth_gaussian,
    Median: smooth_median,
    NonLocalMeans: smooth_nonlocal,
    HistEqualise: hist_equalise,
    Clahe: clahe,
    HistMatch: hist_match,
    BiasField: correct_bias,
}
