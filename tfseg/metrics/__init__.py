"""Segmentation metrics on hard label maps: NumPy in, numbers out, distances in mm.

One file a family: ``overlap`` (everything that follows from the confusion matrix), ``surface``
(distances between boundaries), ``size`` (volumes).
"""

from tfseg.metrics.overlap import (
    ClassCounts,
    confusion,
    dice,
    jaccard,
    precision,
    sensitivity,
)
from tfseg.metrics.size import volumes_ml
from tfseg.metrics.surface import (
    EmptyDistance,
    SurfaceDistances,
    hausdorff,
    hd95,
    hd95_per_class,
    surface_distances,
    surface_voxels,
)

__all__ = [
    "ClassCounts",
    "EmptyDistance",
    "SurfaceDistances",
    "confusion",
    "dice",
    "hausdorff",
    "hd95",
    "hd95_per_class",
    "jaccard",
    "precision",
    "sensitivity",
    "surface_distances",
    "surface_voxels",
    "volumes_ml",
]
