"""The plan applied to one volume."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.plan import Plan
from tfseg.preprocess.normalise import normalise
from tfseg.preprocess.resample import (
    linear_axes,
    resample_cubic,
    resample_labels_linear,
    resample_linear,
    resample_nearest,
    resampled_shape,
)
from tfseg.volume import Volume


def prepare(volume: Volume, plan: Plan) -> NDArray[np.float32]:
    """Return a volume in canonical orientation as network input (z, y, x, c) float32.

    Takes steps and normalisation on the source grid, then resamples to the plan's spacing.

    Raises:
        DataError: the number of channels is not the plan's.
    """
    values = normalise(volume.channel_last(), plan.channels)
    shape = _shape(volume, plan)
    if plan.interpolation == "cubic":
        return resample_cubic(values, shape, linear_axes(volume.spacing_mm))
    return resample_linear(values, shape)


def prepare_label(label: Volume, plan: Plan) -> NDArray[Any]:
    """Return a label map (z, y, x) in canonical orientation on the network's grid."""
    resample = resample_labels_linear if plan.label_interpolation == "linear" else resample_nearest
    return resample(label.array, _shape(label, plan))


def _shape(volume: Volume, plan: Plan) -> tuple[int, int, int]:
    spacing = volume.spacing_mm
    return resampled_shape(volume.shape, spacing, plan.target_spacing(spacing))
