"""Evaluating many cases: one that fails is reported, the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tfseg.datasets import Case, Dataset
from tfseg.errors import DataError, TfsegError
from tfseg.evaluation.case import CaseResult, evaluate_case
from tfseg.evaluation.document import Failure, Metrics
from tfseg.evaluation.summary import summarise
from tfseg.volume import Volume

_WORST_KEPT = 3  # predictions kept for pictures: one byte a voxel each


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate: cases of a data set, and where their predictions come from.

    Attributes:
        dataset: has the references.
        cases: the cases to measure, each with a reference.
        predict: returns a case's label map on its own grid.
        source: which cases these are, in words.
        missing: cases without a prediction.
        unmatched: prediction files that belong to no case.
    """

    dataset: Dataset
    cases: tuple[Case, ...]
    predict: Callable[[Case], Volume]
    source: str
    missing: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()

    def run(
        self, track: Callable[[Sequence[Case]], Iterable[Case]] = lambda cases: cases
    ) -> Outcome:
        """Evaluate every case; one that fails is reported and the others go on.

        Args:
            track: wraps the cases, e.g. in a progress bar.

        Raises:
            DataError: not one case could be evaluated; the message is the first case's.
        """
        outcome = Outcome(self)
        for case in track(self.cases):
            try:
                outcome.add(case, *self._measure(case))
            except (TfsegError, MemoryError) as error:
                text = str(error) or "out of memory"
                outcome.failed.append(
                    Failure(case=case.id, error=text if case.id in text else f"{case.id}: {text}")
                )
        if not outcome.results:
            first = outcome.failed[0].error
            many = f"none of {len(self.cases)} cases could be evaluated, the first because "
            raise DataError(first if len(self.cases) == 1 else many + first)
        return outcome

    def _measure(self, case: Case) -> tuple[CaseResult, Volume]:
        reference = self.dataset.read_label(case)
        mask = None
        if case.mask is not None and self.dataset.read_mask is not None:
            mask = self.dataset.read_mask(case)
        prediction = self.predict(case)
        result = evaluate_case(reference, prediction, self.dataset.labels, mask, case=case.id)
        return result, prediction


@dataclass
class Outcome:
    """What an evaluation found.

    Attributes:
        results: one per evaluated case, in the order of evaluation.
        failed: the cases that could not be evaluated.
        worst: (case, its prediction, its mean Dice) of the few cases with the lowest mean
            Dice, worst first; for pictures.
    """

    evaluation: Evaluation
    results: list[CaseResult] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    worst: list[tuple[Case, Volume, float]] = field(default_factory=list)

    def add(self, case: Case, result: CaseResult, prediction: Volume) -> None:
        """Take in one case."""
        self.results.append(result)
        self.worst.append((case, prediction, result.mean_dice))
        self.worst.sort(key=lambda entry: (entry[2], entry[0].id))
        del self.worst[_WORST_KEPT:]

    def metrics(self) -> Metrics:
        """Return the document of this evaluation."""
        return Metrics(
            data=self.evaluation.dataset.name,
            source=self.evaluation.source,
            distance_unit="px" if self.evaluation.dataset.dims == 2 else "mm",
            failed=self.failed,
            missing=list(self.evaluation.missing),
            unmatched=list(self.evaluation.unmatched),
            **summarise(self.results),
        )
