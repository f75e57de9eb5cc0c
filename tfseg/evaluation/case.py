"""One label map against its reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.evaluation.document import VOLUMES
from tfseg.evaluation.measures import DEFAULT_MEASURES, Measures
from tfseg.metrics.challenges import CaseMaps, ProtocolCase
from tfseg.metrics.lesions import lesion_scores
from tfseg.metrics.measure import measure, measure_regions
from tfseg.metrics.probability import auc_pr, auc_roc, otsu_dice
from tfseg.metrics.registry import METRICS
from tfseg.volume import Volume

Scores = dict[str, dict[str, float]]  # class or region -> metric -> value

_NOT_SHEARED = 1e-6  # headers keep their numbers as float32
_PROBABILITY = {"auc_roc": auc_roc, "auc_pr": auc_pr, "otsu_dice": otsu_dice}


@dataclass(frozen=True)
class CaseResult:
    """The scores of one case.

    Attributes:
        case: the case's id.
        scores: class or region -> metric -> value; NaN where the value is not defined. The
            foreground classes come first, in label order.
        image: image-level metric -> value.
        classes: how many of the first entries of ``scores`` the mean Dice is of: the data
            set's classes, or a protocol's regions; ``None`` for all of them.
        protocol_case: what a protocol needs of the case for its figures over all of them.
    """

    case: str
    scores: Scores
    image: dict[str, float] = field(default_factory=dict)
    classes: int | None = None
    protocol_case: ProtocolCase | None = None

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the foreground classes where it is defined; else NaN."""
        rows = list(self.scores.values())[: self.classes]
        defined = [row["dice"] for row in rows if not math.isnan(row["dice"])]
        return float(np.mean(defined)) if defined else math.nan


def evaluate_case(
    reference: Volume,
    prediction: Volume,
    labels: Sequence[str],
    measures: Measures = DEFAULT_MEASURES,
    *,
    mask: Volume | None = None,
    probabilities: NDArray[Any] | None = None,
    case: str = "",
) -> CaseResult:
    """Measure a label map against its reference on the same grid.

    Args:
        reference: label map, integers 0..k-1.
        prediction: label map on the same grid; may be stored as floats if they are integral.
        labels: names of the values 0..k-1, background first.
        measures: what to measure, and by which rules.
        mask: region that counts (a field of view); what lies outside is ignored, for surfaces
            as if the array ended there.
        probabilities: predicted class probabilities (z, y, x, k) on the same grid.
        case: the case's id, for the result and for messages.

    Raises:
        DataError: the grids differ, or a map holds something else than the labels.
        ConfigError: ``measures`` does not fit the labels.
    """
    where = f"case {case}: " if case else ""
    for name, other in (("prediction", prediction), ("mask", mask)):
        if other is not None and not reference.same_grid(other):
            raise DataError(
                f"{where}the {name} must lie on the reference's grid; the reference is "
                f"{_grid(reference)}, the {name} {_grid(other)}. Resample it onto the reference."
            )
    expected = (*reference.shape, len(labels))
    if probabilities is not None and probabilities.shape != expected:
        raise DataError(
            f"{where}the probabilities must be {expected} (z, y, x, class), as the reference "
            f"and its labels are; got {probabilities.shape}."
        )
    maps = CaseMaps(
        reference=_labels(reference, f"{where}the reference", labels),
        prediction=_labels(prediction, f"{where}the prediction", labels),
        spacing_mm=reference.spacing_mm,
        mask=None if mask is None else mask.channel_last()[..., 0].astype(bool),
        probabilities=probabilities,
    )
    if measures.protocol is not None:
        found = measures.protocol.measure(_canonical(maps, reference), len(labels))
        return CaseResult(
            case, found.scores, classes=len(measures.protocol.regions), protocol_case=found
        )
    names = _distinct(labels)[1:]
    by_class, image = _classes(maps, names, measures)
    scores = by_class | _regions(maps, len(labels), measures)
    _correct_ml(scores, reference)
    return CaseResult(case, scores, image, len(names))


def _canonical(maps: CaseMaps, grid: Volume) -> CaseMaps:
    """Return the maps with slices from feet to head: protocols divide organs along them."""
    canonical, way = grid.canonical()
    return CaseMaps(
        reference=way.apply(maps.reference),
        prediction=way.apply(maps.prediction),
        spacing_mm=canonical.spacing_mm,
        mask=None if maps.mask is None else way.apply(maps.mask),
        probabilities=None if maps.probabilities is None else way.apply(maps.probabilities),
    )


def _classes(
    maps: CaseMaps, names: Sequence[str], measures: Measures
) -> tuple[Scores, dict[str, float]]:
    """Return the scores of every foreground class, and those of the whole image."""
    counted = (*measures.of_level("class"), *VOLUMES)
    found = measure(
        maps.reference,
        maps.prediction,
        len(names) + 1,
        maps.spacing_mm,
        metrics=(*counted, *measures.image),
        mask=maps.mask,
        options=measures.class_options(len(names)),
    )
    scores = {
        name: _with_detection(
            {metric: float(found[metric][value]) for metric in counted}, maps, (value,), measures
        )
        for value, name in enumerate(names, start=1)
    }
    return scores, {metric: float(found[metric]) for metric in measures.image}


def _regions(maps: CaseMaps, num_classes: int, measures: Measures) -> Scores:
    if not measures.regions:
        return {}
    found = measure_regions(
        maps.reference,
        maps.prediction,
        measures.regions,
        num_classes,
        maps.spacing_mm,
        metrics=(*measures.of_level("class"), *VOLUMES),
        mask=maps.mask,
        options=measures.region_options(num_classes - 1),
    )
    return {
        name: _with_detection(found[name], maps, values, measures)
        for name, values in measures.regions.items()
    }


def _with_detection(
    scores: dict[str, float], maps: CaseMaps, values: tuple[int, ...], measures: Measures
) -> dict[str, float]:
    """Add metrics of lesions and of probabilities; return all in the order of columns."""
    scores = dict(scores)
    if measures.of_level("lesion"):
        scores |= lesion_scores(*maps.region(values))
    if measures.of_level("probability") and maps.probabilities is not None:
        truth = np.isin(maps.reference, values)
        likely = maps.probabilities[..., list(values)].sum(axis=-1)
        for name in measures.of_level("probability"):
            scores[name] = _PROBABILITY[name](truth, likely, maps.mask)
    return {metric: scores[metric] for metric in measures.columns}


def _correct_ml(scores: Scores, grid: Volume) -> None:
    """Make volumes those of the grid's parallelepipeds, where they are not boxes.

    Volumes are measured with the spacing alone. A sheared grid (a tilted CT gantry) has smaller
    voxels.
    """
    box = float(np.prod(grid.spacing_mm))
    share = float(abs(np.linalg.det(grid.affine[:3, :3]))) / box
    if share > 1 - _NOT_SHEARED:
        return
    for row in scores.values():
        for metric in row:
            if METRICS[metric].unit == "ml":
                row[metric] *= share


def _labels(volume: Volume, what: str, labels: Sequence[str]) -> NDArray[np.uint8]:
    if volume.channels != 1:
        raise DataError(f"{what} must be a label map of 1 channel; got {volume.channels}.")
    stored = volume.channel_last()[..., 0]
    if stored.dtype == np.uint8 and stored.max() < len(labels):
        return stored
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
