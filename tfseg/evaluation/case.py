"""One label map against its reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tfseg import metrics
from tfseg.errors import DataError
from tfseg.metrics import EmptyDistance
from tfseg.volume import Volume

METRICS = (
    "dice",
    "jaccard",
    "precision",
    "sensitivity",
    "hd95",
    "reference_ml",
    "prediction_ml",
)


@dataclass(frozen=True)
class CaseResult:
    """The scores of one case.

    Attributes:
        case: the case's id.
        scores: class name -> metric name (one of :data:`METRICS`) -> value; NaN where the
            value is not defined. Foreground classes only, in label order.
        image: image-level metric -> value.
    """

    case: str
    scores: dict[str, dict[str, float]]
    image: dict[str, float] = field(default_factory=dict)

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the foreground classes where it is defined; else NaN."""
        defined = [s["dice"] for s in self.scores.values() if not math.isnan(s["dice"])]
        return float(np.mean(defined)) if defined else math.nan


def evaluate_case(
    reference: Volume,
    prediction: Volume,
    labels: Sequence[str],
    mask: Volume | None = None,
    *,
    case: str = "",
    empty_distance: EmptyDistance = "nan",
) -> CaseResult:
    """Measure a label map against its reference on the same grid.

    A class that neither map has scores an overlap of 1 and a distance of 0; one that only one
    map has scores 0 and ``empty_distance``.

    Args:
        reference: label map, integers 0..k-1.
        prediction: label map on the same grid; may be stored as floats if they are integral.
        labels: names of the values 0..k-1, background first.
        mask: region that counts (a field of view); what lies outside is ignored, for surfaces
            as if the array ended there.
        case: the case's id, for the result and for messages.
        empty_distance: see :func:`tfseg.metrics.hausdorff`.

    Raises:
        DataError: the grids differ, or a map holds something else than the labels.
    """
    where = f"case {case}: " if case else ""
    for name, other in (("prediction", prediction), ("mask", mask)):
        if other is not None and not reference.same_grid(other):
            raise DataError(
                f"{where}the {name} must lie on the reference's grid; the reference is "
                f"{_grid(reference)}, the {name} {_grid(other)}. Resample it onto the reference."
            )
    first = _labels(reference, f"{where}the reference", labels)
    second = _labels(prediction, f"{where}the prediction", labels)
    if mask is not None:
        inside = mask.channel_last()[..., 0].astype(bool)
        matrix = metrics.confusion(first, second, len(labels), inside)
        first, second = first * inside, second * inside
    else:
        matrix = metrics.confusion(first, second, len(labels))
    counts = metrics.ClassCounts.of(matrix)
    reference_ml, prediction_ml = metrics.volumes_ml(
        matrix, float(abs(np.linalg.det(reference.affine[:3, :3])))
    )
    columns = (
        metrics.dice(counts),
        metrics.jaccard(counts),
        metrics.precision(counts),
        metrics.sensitivity(counts),
        metrics.hd95_per_class(
            first, second, len(labels), reference.spacing_mm, empty_distance=empty_distance
        ),
        reference_ml,
        prediction_ml,
    )
    return CaseResult(
        case,
        {
            name: {
                metric: float(column[value])
                for metric, column in zip(METRICS, columns, strict=True)
            }
            for value, name in enumerate(_distinct(labels))
            if value > 0
        },
    )


def _labels(volume: Volume, what: str, labels: Sequence[str]) -> NDArray[np.uint8]:
    if volume.channels != 1:
        raise DataError(f"{what} must be a label map of 1 channel; got {volume.channels}.")
    stored = volume.channel_last()[..., 0]
    # Written so that NaN is wrong too.
    wrong = ~((stored >= 0) & (stored < len(labels)))
    if not np.issubdtype(stored.dtype, np.integer):
        wrong |= stored != np.floor(stored)
    if wrong.any():
        raise DataError(
            f"{what} holds the value {stored[wrong].flat[0]:g}; the labels are 0 to "
            f"{len(labels) - 1} ({', '.join(labels)}). Correct the label map."
        )
    return stored.astype(np.uint8, copy=False)


def _grid(volume: Volume) -> str:
    size = " x ".join(str(n) for n in volume.shape)
    spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing_mm)
    origin = ", ".join(f"{mm:.4g}" for mm in volume.origin_mm)
    return f"{size} voxels of {spacing} mm from ({origin})"


def _distinct(labels: Sequence[str]) -> list[str]:
    """Return the names, with the value appended where two labels share one."""
    return [
        f"{name} ({value})" if list(labels).count(name) > 1 else name
        for value, name in enumerate(labels)
    ]
