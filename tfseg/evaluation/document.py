"""The documents of an evaluation: ``metrics.json``, ``comparison.json`` and their tables.

JSON has neither NaN nor infinity: a value that is not defined (the surface distance to a class
that was not predicted at all) is ``null``, and so is an infinite one; :class:`Statistic` counts
both kinds.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfseg.errors import DataError
from tfseg.files import read_json
from tfseg.plan import first_problem

METRICS_FILE = "metrics.json"
COMPARISON_FILE = "comparison.json"

# Measured of every class besides the metrics that were asked for: the volumes say whether a
# class was there at all, and Bland-Altman plots are made of them.
VOLUMES = ("reference_ml", "prediction_ml")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Scores = dict[str, _Number | None]  # metric -> value


class Statistic(_Record):
    """One metric over the cases.

    Attributes:
        mean: ``None`` without values, or when one of them is infinite; so are the other two
            that are made of sums, ``sd`` and the interval.
        sd: standard deviation of the sample (n - 1), from 2 values on.
        median: the middle value; infinite ones take part, and an infinite median is ``None``.
        q1: first quartile, interpolated linearly; as ``median``.
        q3: third quartile; as ``median``.
        ci_low: lower end of the 95 % interval of the mean, by a seeded percentile bootstrap
            over the cases; from 2 values on.
        ci_high: its upper end.
        n: number of values, infinite ones included.
        undefined: number of cases whose value is not defined; they are left out of all else.
        infinite: how many of the ``n`` values are infinite.
    """

    mean: _Number | None
    sd: _Number | None
    median: _Number | None
    q1: _Number | None
    q3: _Number | None
    ci_low: _Number | None
    ci_high: _Number | None
    n: int
    undefined: int
    infinite: int = 0


class ClassSummary(_Record):
    """One class, or region, over the cases.

    Attributes:
        present: cases whose reference has it.
        dice_where_present: mean Dice over these alone. The mean over all cases also has those
            where neither map has the class, each of which counts 1 by default.
        absent: cases that have it in neither map.
        only_reference: cases where it is in the reference alone: it was missed.
        only_prediction: cases where it is in the prediction alone: it was invented.
        metrics: metric -> its statistic, in the order of :attr:`Metrics.metrics`; one without
            any case was not measured of this class.
        worst: up to 3 cases with the lowest Dice, worst first.
    """

    present: int = 0
    dice_where_present: _Number | None = None
    absent: int
    only_reference: int = 0
    only_prediction: int = 0
    metrics: dict[str, Statistic]
    worst: list[str] = []


class CaseRow(_Record):
    """One case.

    Attributes:
        case: its id.
        mean_dice: over the foreground classes whose Dice is defined.
        role: what it was to the model's training: ``held out``, ``trained on``, ``new``, ...
            (:class:`tfseg.datasets.split.Found`); ``None`` where that is not known.
        scores: class or region -> metric -> value.
        image: image-level metric -> value.
    """

    case: str
    mean_dice: _Number | None
    role: str | None = None
    scores: dict[str, _Scores]
    image: _Scores = {}


class Failure(_Record):
    """A case that could not be evaluated, and why."""

    case: str
    error: str


class Metrics(_Record):
    """The content of ``metrics.json``.

    Attributes:
        data: name of the data set.
        source: which cases, in words, e.g. ``held-out fold 0``.
        protocol: the challenge's protocol that chose metrics, regions and rules, if one did.
        metrics: the metrics of every class, in the order of columns; ids of
            :data:`tfseg.metrics.METRICS` and :data:`VOLUMES`.
        distance_unit: what distances are in: ``mm``, or ``px`` for photographs, which have no
            millimetres (one pixel counts as 1 mm).
        options: the rules: :class:`tfseg.metrics.MetricOptions` as a dictionary.
        cases: number of cases that were evaluated.
        mean_dice: mean over the cases of their mean Dice.
        empty: cases whose reference has none of the classes.
        mean_dice_where_present: mean over the other cases of their mean Dice over the classes
            that the reference has.
        classes: one summary a foreground class in label order, then one a region.
        image: image-level metric -> its statistic.
        overall: values of the whole set of cases, not means over them, e.g. LiTS's global
            Dice; the name says class and metric.
        per_case: worst mean Dice first.
        failed: cases that could not be evaluated.
        missing: cases without a prediction.
        unmatched: prediction files that belong to no case.
        new: cases that the model's training did not have and that were not measured.
        held_out_missing: cases held out from training that are not there any more.
        remarks: what else to know of the cases, such as that one has changed since training.
    """

    version: Literal[2] = 2
    data: str
    source: str
    protocol: str | None = None
    metrics: list[str]
    distance_unit: Literal["mm", "px"]
    options: dict[str, Any] = {}
    cases: int
    mean_dice: _Number | None
    empty: int = 0
    mean_dice_where_present: _Number | None = None
    classes: dict[str, ClassSummary]
    image: dict[str, Statistic] = {}
    overall: _Scores = {}
    per_case: list[CaseRow]
    failed: list[Failure] = []
    missing: list[str] = []
    unmatched: list[str] = []
    new: list[str] = []
    held_out_missing: list[str] = []
    remarks: list[str] = []

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
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


class Difference(_Record):
    """One metric of one class, this minus the other, over the cases that both have.

    Metrics that are best near 0 (a signed volume difference) are compared by their magnitude.

    Attributes:
        n: cases where both values are finite.
        mean: mean of the paired differences; ``None`` without any.
        ci_low: lower end of the 95 % interval of that mean, by a seeded bootstrap over cases.
        ci_high: its upper end.
        p_value: of the two-sided Wilcoxon signed-rank test; ``None`` for too few cases
            (:func:`tfseg.metrics.statistics.wilcoxon_p`). It is not corrected for the number of
            comparisons.
        better: which one is, where the interval leaves out 0 and p is below 0.05; else
            ``neither``.
    """

    n: int
    mean: _Number | None
    ci_low: _Number | None
    ci_high: _Number | None
    p_value: _Number | None
    better: Literal["this", "other", "neither"]


class Comparison(_Record):
    """The content of ``comparison.json``: two evaluations of the same cases.

    Attributes:
        this: what was evaluated, in words.
        other: what it was compared with.
        cases: number of cases in both.
        only_this: cases that the other does not have.
        only_other: cases that this one does not have.
        mean_dice: of the cases' mean Dice.
        differences: class or region -> metric -> difference.
        image: image-level metric -> difference.
    """

    version: Literal[1] = 1
    this: str
    other: str
    cases: int
    only_this: list[str] = []
    only_other: list[str] = []
    mean_dice: Difference
    differences: dict[str, dict[str, Difference]]
    image: dict[str, Difference] = {}
