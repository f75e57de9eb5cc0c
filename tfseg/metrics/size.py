"""How much of each class there is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tfseg.metrics.overlap import Counts

_MM3_PER_ML = 1000.0


def volumes_ml(matrix: Counts, voxel_mm3: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the volume of every class in the reference and in the prediction, in millilitres.

    Args:
        matrix: confusion matrix (reference, prediction), (k, k).
        voxel_mm3: volume of one voxel.
    """
    scale = voxel_mm3 / _MM3_PER_ML
    return matrix.sum(axis=1) * scale, matrix.sum(axis=0) * scale
