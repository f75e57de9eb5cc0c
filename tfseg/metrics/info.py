"""What the registry says about one metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["class", "image", "lesion", "probability", "set", "network"]
Group = Literal[
    "overlap",
    "surface",
    "size",
    "detection",
    "probability",
    "clinical",
    "challenge",
    "statistic",
    "cost",
]


@dataclass(frozen=True)
class MetricInfo:
    """One metric.

    Attributes:
        name: its id, on the command line and in result files.
        level: what there is one value of: ``class``, a class of a case; ``image``, a case;
            ``lesion``, as class, of connected components; ``probability``, a class of a case
            whose probabilities are saved; ``set``, measurements beyond one label map and its
            reference, most of them of all cases together; ``network``, a model.
        group: the family it is listed under.
        unit: ``mm``, ``ml``, ``%``, ``s`` or none.
        better: which values are good.
        summary: one line with the formula. A and B are the object in the reference and in the
            prediction; TP, FP, FN, TN voxels of the class against the rest; d(A->B) the
            distances from each surface voxel of A to the nearest of B; n their number.
        empty: what it is where the reference, the prediction or both lack the class.
        source: the paper or the challenge that defines it.
        function: where it is computed, ``module:function``.
    """

    name: str
    level: Level
    group: Group
    unit: Literal["", "mm", "ml", "%", "s"]
    better: Literal["higher", "lower", "near0"]
    summary: str
    empty: str
    source: str
    function: str
