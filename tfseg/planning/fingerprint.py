"""What the planner needs to know about a data set, gathered in one pass over the cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfseg.datasets.base import Case, Dataset
from tfseg.errors import DataError
from tfseg.fingerprint import ImageFingerprint
from tfseg.io import is_picture
from tfseg.preprocess.likeness import look_at, summarise

_SAMPLES = 20_000  # foreground voxels a case: percentiles to 0.1 % over a handful of cases


@dataclass(frozen=True)
class Fingerprint:
    """Sizes, spacings and foreground intensities.

    Attributes:
        shapes: (cases, 3) voxels (z, y, x) in canonical orientation.
        spacings_mm: (cases, 3) in mm (z, y, x).
        foreground: (voxels, channels) intensities sampled inside labels > 0.
        images: what the manifest tells of them all.
    """

    shapes: NDArray[np.int64]
    spacings_mm: NDArray[np.float64]
    foreground: NDArray[np.float64]
    images: ImageFingerprint


def take_fingerprint(
    dataset: Dataset,
    cases: Sequence[Case],
    progress: Callable[[Iterable[Case]], Iterable[Case]] = iter,
) -> Fingerprint:
    """Read every case once and return the fingerprint.

    Raises:
        DataError: a case that cannot be used, or no foreground voxel in any of them.
    """
    shapes, spacings, samples, looks = [], [], [], []
    rng = np.random.default_rng(0)  # the plan depends on the data alone
    for case in progress(cases):
        image, label = dataset.load(case)
        canonical, way = image.canonical()
        shapes.append(canonical.shape)
        spacings.append(canonical.spacing_mm)
        looks.append(look_at(canonical, picture=is_picture(case.image)))
        inside = canonical.channel_last()[way.apply(dataset.foreground(label))]
        if len(inside) > _SAMPLES:
            inside = inside[rng.choice(len(inside), _SAMPLES, replace=False)]
        samples.append(inside.astype(np.float64))
    if not samples or not any(len(values) for values in samples):
        raise DataError(
            f"{dataset.root}: no case has a foreground voxel; there is nothing to learn. "
            f"Label at least one of: {', '.join(dataset.labels[1:])}."
        )
    return Fingerprint(
        np.array(shapes),
        np.array(spacings),
        np.concatenate(samples),
        summarise(looks, dataset.modalities),
    )
