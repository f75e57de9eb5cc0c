"""What one pass of a network over a scan gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.volume import Volume


@dataclass(frozen=True, eq=False)
class Instances:
    """Objects one by one, on the scan's own grid.

    Attributes:
        numbers: of each voxel's object, (z, y, x) uint16, 0 for none.
        objects: from number 1 on: label, score, box in voxels and in mm, and volume.
    """

    numbers: Volume
    objects: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """A label map and what was asked for beside it, all on the scan's own grid.

    Attributes:
        labels: (z, y, x) uint8.
        probabilities: (z, y, x, classes), the largest of which is the label.
        instances: of a detector.
    """

    labels: Volume
    probabilities: NDArray[np.float32] | None = None
    instances: Instances | None = None
