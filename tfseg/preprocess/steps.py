"""The steps before normalisation, applied in their order to one channel of a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.preprocess.bias import correct_bias
from tfseg.preprocess.denoise import smooth_gaussian, smooth_median, smooth_nonlocal
from tfseg.preprocess.histograms import clahe, hist_equalise, hist_match
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
    Step,
)

Volume32 = NDArray[np.float32]


def apply_steps(values: Volume32, steps: Sequence[Step]) -> Volume32:
    """Return (z, y, x) raw intensities after all steps; without any, ``values`` itself."""
    for step in steps:
        values = _APPLY[type(step)](values, step)
    return values


def _clip(values: Volume32, step: Clip) -> Volume32:
    return values.clip(np.float32(step.low), np.float32(step.high))


def _percentile_clip(values: Volume32, step: PercentileClip) -> Volume32:
    low, high = np.percentile(values, [step.low, step.high]).astype(np.float32)
    return values.clip(low, high)


_APPLY: dict[type, Callable[[Volume32, Any], Volume32]] = {
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
