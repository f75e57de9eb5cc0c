"""Intensities as the plan says, per channel: its steps, then its normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.plan import (
    Channel,
    ClipZScore,
    MinMax,
    NonzeroZScore,
    Normalisation,
    Percentiles,
    Scale,
    Window,
)
from tfseg.preprocess.steps import apply_steps

STD_FLOOR = 1e-8  # a constant volume becomes 0, not NaN


def normalise(array: NDArray[Any], channels: Sequence[Channel]) -> NDArray[np.float32]:
    """Return (z, y, x, c) raw intensities, after each channel's steps, as normalised float32.

    Raises:
        DataError: the number of channels is not the plan's.
    """
    if array.shape[-1] != len(channels):
        raise DataError(other_channels(array.shape[-1], channels))
    result = np.empty(array.shape, np.float32)
    for index, channel in enumerate(channels):
        values = apply_steps(array[..., index].astype(np.float32), channel.steps)
        result[..., index] = scaling_of(channel.normalisation, values).apply(values)
    return result


def other_channels(count: int, channels: Sequence[Channel]) -> str:
    """Return the message for an image of ``count`` channels where others are asked for."""
    return (
        f"the model takes {len(channels)} channels "
        f"({', '.join(channel.name for channel in channels)}); the image has {count}. "
        "Give an image with the channels the model was trained on."
    )


@dataclass(frozen=True)
class Scaling:
    """A normalisation with its numbers: ``(clip(v, low, high) - offset) / scale``.

    Attributes:
        low, high: bounds in raw units, infinite where nothing is clipped.
        offset, scale: in raw units.
        keeps_zero: whether voxels that are 0 stay 0.
    """

    low: float
    high: float
    offset: float
    scale: float
    keeps_zero: bool = False

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return raw intensities of any shape normalised."""
        result: NDArray[np.float32] = values.clip(np.float32(self.low), np.float32(self.high))
        result -= np.float32(self.offset)
        result /= np.float32(self.scale)
        if self.keeps_zero:
            result[values == 0] = 0
        return result

    def undo(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return raw intensities again; of what was clipped, the bound."""
        result = values * np.float32(self.scale) + np.float32(self.offset)
        if self.keeps_zero:
            result[values == 0] = 0
        return result


def scaling_of(rule: Normalisation, values: NDArray[np.float32]) -> Scaling:
    """Return the rule with the numbers that it takes from a volume's channel (z, y, x)."""
    if isinstance(rule, ClipZScore):
        return Scaling(rule.low, rule.high, rule.mean, rule.std)
    if isinstance(rule, Window):
        return Scaling(rule.low, rule.high, rule.low, rule.high - rule.low)
    if isinstance(rule, Scale):
        return Scaling(-np.inf, np.inf, rule.offset, rule.scale)
    if isinstance(rule, MinMax):
        low, high = float(values.min()), float(values.max())
        return Scaling(low, high, low, max(high - low, STD_FLOOR))
    if isinstance(rule, Percentiles):
        low, high = np.percentile(values, [rule.low, rule.high]).astype(np.float32)
        return Scaling(float(low), float(high), *_mean_and_std(values.clip(low, high)))
    if isinstance(rule, NonzeroZScore):
        inside = values[values != 0]
        mean, std = _mean_and_std(inside) if inside.size else (0.0, 1.0)
        return Scaling(-np.inf, np.inf, mean, std, keeps_zero=True)
    return Scaling(-np.inf, np.inf, *_mean_and_std(values))


def _mean_and_std(values: NDArray[np.float32]) -> tuple[float, float]:
    # float64 sums: a float32 sum over 10^8 voxels of a CT loses the third digit.
    mean = float(values.mean(dtype=np.float64))
    return mean, max(float(values.std(dtype=np.float64)), STD_FLOOR)
