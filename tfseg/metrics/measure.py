"""Every chosen metric of a label map against its reference, each voxel looked at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError
from tfseg.metrics import image, overlap, size, surface
from tfseg.metrics.counts import ClassCounts, Counts, as_bytes, count_pairs, relabel
from tfseg.metrics.distances import check_spacing, class_distances
from tfseg.metrics.options import DEFAULT_OPTIONS, MetricOptions
from tfseg.metrics.registry import metric_info
from tfseg.metrics.surface import SurfaceDistances

Scores = NDArray[np.float64]

_OVERLAP: dict[str, Callable[[ClassCounts, MetricOptions], Scores]] = {
    "dice": overlap.dice,
    "jaccard": overlap.jaccard,
    "voe": overlap.voe,
    "sensitivity": overlap.sensitivity,
    "specificity": overlap.specificity,
    "precision": overlap.precision,
    "accuracy": overlap.accuracy,
    "gmean": overlap.gmean,
    "kappa": overlap.kappa,
    "mcc": overlap.mcc,
    "sa": overlap.sa,
    "or_rate": overlap.or_rate,
    "ur_rate": overlap.ur_rate,
    "rvd": size.rvd,
    "arvd": size.arvd,
}
_IMAGE: dict[str, Callable[[Counts, MetricOptions], float]] = {
    "pixel_acc": image.pixel_acc,
    "mean_acc": image.mean_acc,
    "mean_iou": image.mean_iou,
    "fw_iou": image.fw_iou,
    "kappa_image": image.kappa_image,
}
_VOLUME: dict[str, Callable[[ClassCounts, float, MetricOptions], Scores]] = {
    "volume": lambda counts, voxel_mm3, _: size.volume_ml(counts.prediction, voxel_mm3),
    "reference_ml": lambda counts, voxel_mm3, _: size.volume_ml(counts.reference, voxel_mm3),
    "prediction_ml": lambda counts, voxel_mm3, _: size.volume_ml(counts.prediction, voxel_mm3),
    "volume_diff": size.volume_diff,
    "avd": size.avd,
}
_DISTANCE: dict[str, Callable[[SurfaceDistances, MetricOptions], float]] = {
    "hausdorff": surface.hausdorff,
    "hausdorff_to_prediction": surface.hausdorff_to_prediction,
    "hausdorff_to_reference": surface.hausdorff_to_reference,
    "hd95": surface.hd95,
    "assd": surface.assd,
    "asd_to_prediction": surface.asd_to_prediction,
    "asd_to_reference": surface.asd_to_reference,
    "msd": surface.msd,
    "ahd": surface.ahd,
    "rmsd": surface.rmsd,
}
_SURFACE = (*_DISTANCE, "nsd")

# What measure() computes; the registry has further metrics, of probabilities, lesions, sets.
MEASURED = (*_OVERLAP, *_VOLUME, *_SURFACE, *_IMAGE)


def measure(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    spacing_mm: Any,
    *,
    metrics: Sequence[str],
    mask: NDArray[Any] | None = None,
    options: MetricOptions = DEFAULT_OPTIONS,
) -> dict[str, Scores]:
    """Measure two label maps.

    Args:
        reference: label map of 1 to 3 axes, integers 0..k-1.
        prediction: label map of the same shape.
        num_classes: k, the background included; 1 to 255.
        spacing_mm: voxel size along each array axis.
        metrics: ids of :data:`MEASURED`.
        mask: region that counts (a field of view), boolean, same shape; what lies outside is
            ignored, for surfaces as if the array ended there.
        options: empty rules, tolerance, conventions.

    Returns:
        Metric id -> float64: (k,) for metrics of a class, background first; () for metrics of the
        whole image. A surface metric of the background is NaN: it has none of its own.

    Raises:
        DataError: shapes differ, a label is not below k, the spacing does not fit.
        ConfigError: a metric is unknown or not measured on label maps; the number of tolerances
            is not k - 1.
    """
    check_metrics(metrics)
    spacing = check_spacing(spacing_mm, reference.ndim)
    tolerances_mm = options.tolerances_mm(max(num_classes - 1, 0)) if "nsd" in metrics else ()
    first, second, inside = as_bytes(reference, prediction, num_classes, mask)
    matrix = count_pairs(first, second, num_classes, inside)
    counts = ClassCounts.of(matrix)
    voxel_mm3 = float(np.prod(spacing))
    result: dict[str, Scores] = {}
    for name in metrics:
        if name in _OVERLAP:
            result[name] = _OVERLAP[name](counts, options)
        elif name in _VOLUME:
            result[name] = _VOLUME[name](counts, voxel_mm3, options)
        elif name in _IMAGE:
            result[name] = np.asarray(_IMAGE[name](matrix, options))
        else:
            result[name] = np.full(num_classes, np.nan)
    chosen = [name for name in metrics if name in _SURFACE]
    if chosen:
        if inside is not None:
            first, second = first * inside, second * inside
        for value, found in enumerate(class_distances(first, second, num_classes, spacing), 1):
            for name in chosen:
                result[name][value] = (
                    surface.nsd(found, tolerances_mm[value - 1], options)
                    if name == "nsd"
                    else _DISTANCE[name](found, options)
                )
    return result


def measure_regions(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    regions: Mapping[str, Sequence[int]],
    num_classes: int,
    spacing_mm: Any,
    *,
    metrics: Sequence[str],
    mask: NDArray[Any] | None = None,
    options: MetricOptions = DEFAULT_OPTIONS,
) -> dict[str, dict[str, float]]:
    """Measure unions of labels, such as the whole tumour of BraTS; they may overlap.

    Each region is one object against everything else; metrics of the whole image are those of
    that map of two classes.

    Args:
        reference: label map of 1 to 3 axes, integers 0..k-1.
        prediction: label map of the same shape.
        regions: region name -> labels that belong to it.
        num_classes: k, the background included; 1 to 255.
        spacing_mm: voxel size along each array axis.
        metrics: ids of :data:`MEASURED`.
        mask: region that counts, see :func:`measure`.
        options: empty rules, conventions; several tolerances are one for every region.

    Returns:
        Region name -> metric id -> value, in the order given.

    Raises:
        DataError: as :func:`measure`.
        ConfigError: as :func:`measure`, or a region has no label or one that does not exist.
    """
    for name, labels in regions.items():
        if not labels or not all(0 <= label < num_classes for label in labels):
            raise ConfigError(
                f"region {name!r} must be made of labels from 0 to {num_classes - 1}; "
                f"got {list(labels)}."
            )
    tolerances_mm = options.tolerances_mm(len(regions), "region")
    first, second, inside = as_bytes(reference, prediction, num_classes, mask)
    count_pairs(first, second, num_classes, inside)  # refuses labels that are not below k
    result = {}
    for (name, labels), tolerance_mm in zip(regions.items(), tolerances_mm, strict=True):
        belongs = np.zeros(256, np.uint8)
        belongs[list(labels)] = 1
        scores = measure(
            relabel(first, belongs),
            relabel(second, belongs),
            2,
            spacing_mm,
            metrics=metrics,
            mask=inside,
            options=dataclasses.replace(options, tolerance_mm=tolerance_mm),
        )
        result[name] = {metric: float(np.atleast_1d(v)[-1]) for metric, v in scores.items()}
    return result


def check_metrics(metrics: Iterable[str]) -> None:
    """Raise ConfigError unless :func:`measure` computes each of the metrics."""
    for name in metrics:
        info = metric_info(name)
        if name not in MEASURED:
            raise ConfigError(
                f"metric {name!r} is not measured on pairs of label maps, it is of level "
                f"{info.level!r}. Those that are: {', '.join(MEASURED)}."
            )
