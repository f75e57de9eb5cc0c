"""Intensities as the plan says, per channel: its steps, then its normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.plan import (
    Channel,
    ClipZScore,
    MinMax,
    NonzeroZScore,
    Percentiles,
    Scale,
    Window,
    ZScore,
)
from tfseg.preprocess.steps import apply_steps

STD_FLOOR = 1e-8  # a constant volume becomes 0, not NaN


def normalise(array: NDArray[Any], channels: Sequence[Channel]) -> NDArray[np.float32]:
    """Return (z, y, x, c) raw intensities, after each channel's steps, as normalised float32.

    Raises:
        DataError: the number of channels is not the plan's.
    """
    if array.shape[-1] != len(channels):
        raise DataError(
            f"the model takes {len(channels)} channels "
            f"({', '.join(channel.name for channel in channels)}); the image has "
            f"{array.shape[-1]}. Give an image with the channels the model was trained on."
        )
    result = np.empty(array.shape, np.float32)
    for index, channel in enumerate(channels):
        result[..., index] = _normalise_one(array[..., index], channel)
    return result


def _normalise_one(values: NDArray[Any], channel: Channel) -> NDArray[np.float32]:
    rule = channel.normalisation
    values = apply_steps(values.astype(np.float32), channel.steps)
    if isinstance(rule, NonzeroZScore):
        inside = values != 0
        if inside.any():
            values[inside] = _standardised(values[inside])
        return values
    if isinstance(rule, ZScore):
        return _standardised(values)
    if isinstance(rule, Percentiles):
        low, high = np.percentile(values, [rule.low, rule.high]).astype(np.float32)
        return _standardised(values.clip(low, high))
    low, high, offset, scale = _constants(rule, values)
    return (values.clip(low, high) - np.float32(offset)) / np.float32(scale)


def _constants(
    rule: ClipZScore | Scale | Window | MinMax, values: NDArray[np.float32]
) -> tuple[float, float, float, float]:
    """Return low, high, offset and scale of ``(clip(v, low, high) - offset) / scale``."""
    if isinstance(rule, ClipZScore):
        return rule.low, rule.high, rule.mean, rule.std
    if isinstance(rule, Window):
        return rule.low, rule.high, rule.low, rule.high - rule.low
    if isinstance(rule, Scale):
        return -np.inf, np.inf, rule.offset, rule.scale
    low, high = float(values.min()), float(values.max())
    return low, high, low, max(high - low, STD_FLOOR)


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # float64 sums: a float32 sum over 10^8 voxels of a CT loses the third digit.
    mean = values.mean(dtype=np.float64)
    std = max(float(values.std(dtype=np.float64)), STD_FLOOR)
    return (values - np.float32(mean)) / np.float32(std)
