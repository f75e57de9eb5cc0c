"""Segmentation metrics on hard label maps: NumPy in, numbers out, distances in mm.

:func:`~tfseg.metrics.measure.measure` computes any of them by id. One file a family: ``overlap``
(one class against the rest), ``image`` (all classes together), ``surface`` (distances between
boundaries), ``size`` (volumes); ``registry`` lists them all.
"""

from tfseg.metrics.counts import ClassCounts, confusion
from tfseg.metrics.distances import class_distances, surface_distances
from tfseg.metrics.options import EmptyDistance, MetricOptions
from tfseg.metrics.overlap import dice, jaccard, precision, sensitivity
from tfseg.metrics.registry import METRICS, MetricInfo, metric_info
from tfseg.metrics.size import volumes_ml
from tfseg.metrics.surface import SurfaceDistances

__all__ = [
    "METRICS",
    "ClassCounts",
    "EmptyDistance",
    "MetricInfo",
    "MetricOptions",
    "SurfaceDistances",
    "class_distances",
    "confusion",
    "dice",
    "jaccard",
    "metric_info",
    "precision",
    "sensitivity",
    "surface_distances",
    "volumes_ml",
]
