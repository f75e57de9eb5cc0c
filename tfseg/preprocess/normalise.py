"""Intensity normalisation, per channel, as the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.plan import Channel, ClipZScore, Scale

STD_FLOOR = 1e-8  # a constant volume becomes 0, not NaN


def normalise(array: NDArray[Any], channels: Sequence[Channel]) -> NDArray[np.float32]:
    """Return (z, y, x, c) raw intensities as normalised float32.

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
    values = values.astype(np.float32)
    if isinstance(rule, ClipZScore):
        np.clip(values, rule.low, rule.high, out=values)
        return (values - np.float32(rule.mean)) / np.float32(rule.std)
    if isinstance(rule, Scale):
        return (values - np.float32(rule.offset)) / np.float32(rule.scale)
    # float64 sums: a float32 sum over 10^8 voxels of a CT loses the third digit.
    mean = values.mean(dtype=np.float64)
    std = max(float(values.std(dtype=np.float64)), STD_FLOOR)
    return (values - np.float32(mean)) / np.float32(std)
