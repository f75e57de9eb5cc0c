"""The figures over a set of cases, and the document ``metrics.json`` that holds them.

JSON has no NaN: a value that is not defined (the surface distance to a class that was not
predicted at all) is ``null``; means leave it out, and ``undefined`` counts it.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfseg.errors import DataError
from tfseg.evaluation.case import METRICS, CaseResult
from tfseg.files import read_json, write_json, write_text
from tfseg.plan import first_problem

METRICS_FILE = "metrics.json"
CASES_FILE = "cases.csv"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Number = Annotated[float, Field(allow_inf_nan=False)]


class Statistic(_Record):
    """One metric of one class over the cases; ``sd`` is the sample's (n - 1), from 2 cases on."""

    mean: _Number | None
    sd: _Number | None
    median: _Number | None
    n: int
    undefined: int


class ClassSummary(_Record):
    """One class over the cases; ``absent`` counts cases that have it in neither map."""

    absent: int
    dice: Statistic
    jaccard: Statistic
    precision: Statistic
    sensitivity: Statistic
    hd95_mm: Statistic
    reference_ml: Statistic
    prediction_ml: Statistic


class CaseRow(_Record):
    """One case: class -> metric -> value."""

    case: str
    mean_dice: _Number
    scores: dict[str, dict[str, _Number | None]]


class Failure(_Record):
    """A case that could not be evaluated, and why."""

    case: str
    error: str


class Metrics(_Record):
    """The content of ``metrics.json``.

    Attributes:
        data: name of the data set.
        source: which cases, in words, e.g. ``held-out fold 0``.
        distance_unit: what ``hd95_mm`` is in: ``mm``, or ``px`` for photographs, which have no
            millimetres (one pixel counts as 1 mm).
        cases: number of cases that were evaluated.
        mean_dice: over the foreground classes and the cases.
        classes: one summary a foreground class, in label order.
        per_case: worst mean Dice first.
        failed: cases that could not be evaluated.
        missing: cases without a prediction.
        unmatched: prediction files that belong to no case.
    """

    version: Literal[1] = 1
    data: str
    source: str
    distance_unit: Literal["mm", "px"]
    cases: int
    mean_dice: _Number | None
    classes: dict[str, ClassSummary]
    per_case: list[CaseRow]
    failed: list[Failure] = []
    missing: list[str] = []
    unmatched: list[str] = []

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Metrics:
        """Read ``metrics.json``.

        Raises:
            DataError: missing, no JSON, or not of this form; the message names the field.
        """
        document = read_json(path, "the metrics file")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise DataError(
                f"{path} is no valid metrics file: {first_problem(error)}. "
                "Write it again with tfseg evaluate."
            ) from error


def summarise(results: Sequence[CaseResult]) -> dict[str, Any]:
    """Summarise cases: per class and metric the mean, SD, median, n and count of undefined.

    Returns:
        JSON-able ``{"cases", "mean_dice", "classes", "per_case"}`` as in :class:`Metrics`.
        Values that are not finite are left out of the statistics and counted.
    """
    ordered = sorted(results, key=lambda result: (result.mean_dice, result.case))
    names = list(results[0].scores) if results else []
    return {
        "cases": len(results),
        "mean_dice": _finite(np.mean([result.mean_dice for result in results])) if names else None,
        "classes": {
            name: _class_summary([result.scores[name] for result in results]) for name in names
        },
        "per_case": [
            {
                "case": result.case,
                "mean_dice": result.mean_dice,
                "scores": {
                    name: {metric: _finite(value) for metric, value in scores.items()}
                    for name, scores in result.scores.items()
                },
            }
            for result in ordered
        ],
    }


def _class_summary(scores: list[dict[str, float]]) -> dict[str, Any]:
    absent = sum(row["reference_ml"] == 0 and row["prediction_ml"] == 0 for row in scores)
    return {"absent": absent, **{m: _statistic([row[m] for row in scores]) for m in METRICS}}


def _statistic(values: list[float]) -> dict[str, Any]:
    defined = [value for value in values if math.isfinite(value)]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        "median": float(np.median(defined)) if defined else None,
        "n": len(defined),
        "undefined": len(values) - len(defined),
    }


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def save_metrics(metrics_: Metrics, folder: str | os.PathLike[str]) -> None:
    """Write ``metrics.json`` and ``cases.csv`` (a row a case and class) into ``folder``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "class", *METRICS])
    for row in metrics_.per_case:
        for name, scores in row.scores.items():
            values = ["" if scores[m] is None else f"{scores[m]:.6g}" for m in METRICS]
            writer.writerow([row.case, name, *values])
    write_text(Path(folder) / CASES_FILE, text.getvalue())
    write_json(Path(folder) / METRICS_FILE, metrics_.model_dump(mode="json"))
