"""What watches a run: the Dice of each class, pooled over whole held-out cases.

Pooled, the voxels of all cases are counted together, as by nnU-Net's and MONAI's options for it.
A mean over cases would flatter a network that finds nothing, wherever most cases hold nothing: each
of these would count 1. Pooled, such a network has 0, and every voxel that is found where
nothing is costs something.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import some
from tfseg.metrics import ClassCounts, dice
from tfseg.metrics.counts import Counts
from tfseg.pipeline.cache import PreparedCase

Figures = dict[str, float | int | None]


@dataclass(frozen=True, eq=False)
class Validation:
    """Counts over validation cases; arrays are of every class, the background first.

    Attributes:
        matrix: (k, k) voxels by (reference label, predicted label), over all cases.
        cases: how many there are.
        present: cases whose reference has the class.
        missed: of those, cases where not one voxel of the prediction is right.
        invented: cases without the class where the prediction has it.
    """

    matrix: Counts
    cases: int
    present: NDArray[np.int64]
    missed: NDArray[np.int64]
    invented: NDArray[np.int64]

    @classmethod
    def begin(cls, num_classes: int) -> Self:
        """Return the counts of no case."""
        none = np.zeros(num_classes, np.int64)
        return cls(np.zeros((num_classes, num_classes), np.int64), 0, none, none, none)

    def add(self, matrix: Counts) -> Validation:
        """Return the counts with one more case, given its (k, k) confusion matrix."""
        there, found = matrix.sum(axis=1) > 0, matrix.sum(axis=0) > 0
        right = np.diagonal(matrix) > 0
        return Validation(
            self.matrix + matrix,
            self.cases + 1,
            self.present + there,
            self.missed + (there & ~right),
            self.invented + (~there & found),
        )

    @property
    def dice(self) -> NDArray[np.float64]:
        """Pooled Dice of every class, (k,); NaN for a class that no case has."""
        pooled = np.asarray(dice(ClassCounts.of(self.matrix)), np.float64)
        return np.where(self.present > 0, pooled, np.nan)

    @property
    def mean_dice(self) -> float:
        """Mean pooled Dice of the foreground classes that are in a case; 0 if none is."""
        defined = self.dice[1:][self.present[1:] > 0]
        return float(defined.mean()) if len(defined) else 0.0


def columns(found: Validation | None, labels: Sequence[str]) -> Figures:
    """Return the columns of ``history.csv`` for each class; ``None`` where nothing was measured.

    ``val_dice_<class>`` is the pooled Dice, ``val_cases_<class>`` the number of cases with the
    class, ``val_missed_<class>`` and ``val_invented_<class>`` those where it was missed altogether
    and those without it where it was found.
    """
    record: Figures = {}
    for value in range(1, len(labels)):
        score = math.nan if found is None else float(found.dice[value])
        record[f"val_dice_{labels[value]}"] = None if math.isnan(score) else score
        for name in ("present", "missed", "invented"):
            column = f"val_{'cases' if name == 'present' else name}_{labels[value]}"
            record[column] = None if found is None else int(getattr(found, name)[value])
    return record


def summary(record: Mapping[str, Any], cases: int, labels: Sequence[str]) -> dict[str, Any]:
    """Return what the manifest keeps of a validation.

    Args:
        record: its row of the history.
        cases: how many validation cases there are.
        labels: of the plan.
    """
    parts = ("dice", "cases", "missed", "invented")
    return {
        "measure": "Dice pooled over the cases",
        "epoch": record.get("epoch"),
        "cases": cases,
        "dice": record.get("val_dice"),
        "classes": {
            name: {part: record.get(f"val_{part}_{name}") for part in parts} for name in labels[1:]
        },
    }


def choose_cases(
    held_out: Sequence[PreparedCase], most: int, num_classes: int
) -> list[PreparedCase]:
    """Choose at most ``most`` of the held-out cases, so that they have the classes there are.

    Each class, the rarest first, is given its share of half the places; the first of the other
    cases take the rest. They stay in their order.
    """
    holders = {
        value: [case.id for case in held_out if value in case.places]
        for value in range(1, num_classes)
    }
    share = max(1, most // (2 * max(1, sum(bool(ids) for ids in holders.values()))))
    chosen: dict[str, None] = {}
    for ids in sorted(holders.values(), key=len):
        missing = share - sum(case in chosen for case in ids)
        chosen.update(
            dict.fromkeys([case for case in ids if case not in chosen][: max(0, missing)])
        )
    chosen = dict.fromkeys([*chosen][:most])
    rest = [case.id for case in held_out if case.id not in chosen]
    chosen.update(dict.fromkeys(rest[: most - len(chosen)]))
    return [case for case in held_out if case.id in chosen]


def describe(cases: Sequence[PreparedCase], held_out: int, labels: Sequence[str]) -> str:
    """Return how many validation cases have each class, in words."""
    counts = some(
        [
            f"{name} in {sum(value in case.places for case in cases)}"
            for value, name in enumerate(labels)
            if value
        ]
    )
    empty = sum(not case.places for case in cases)
    text = f"validation: {len(cases)} of {held_out} held-out cases; {counts}"
    return f"{text}; {empty} without any" if empty else text
