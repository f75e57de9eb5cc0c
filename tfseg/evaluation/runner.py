"""Evaluating many cases: side by side, and one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from tfseg.datasets import Case, Dataset
from tfseg.datasets.split import Role
from tfseg.errors import ConfigError, DataError, TfsegError
from tfseg.evaluation.case import CaseResult, evaluate_case
from tfseg.evaluation.document import Failure, Metrics
from tfseg.evaluation.measures import DEFAULT_MEASURES, Measures
from tfseg.evaluation.summary import summarise, worst_first
from tfseg.inference.prediction import Prediction
from tfseg.parallel import in_order
from tfseg.volume import Volume

_WORST_KEPT = 3  # predictions kept for pictures: one byte a voxel each


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate: cases of a data set, and where their predictions come from.

    Attributes:
        dataset: has the references.
        cases: the cases to measure, each with a reference.
        predict: returns a case's label map on its own grid, with class probabilities where the
            second argument asks for them.
        source: which cases these are, in words.
        has_probabilities: whether it may be asked for them.
        in_turn: whether ``predict`` is for one thread: a network takes all cores and much memory
            by itself. A case is then predicted while earlier ones are measured.
        missing: cases without a prediction.
        unmatched: prediction files that belong to no case.
        roles: what each case was to a model's training, where that is known.
        new: cases that the training did not have and that are not measured.
        held_out_missing: held-out cases that are not there.
        remarks: what else to know of the cases.
    """

    dataset: Dataset
    cases: tuple[Case, ...]
    predict: Callable[[Case, bool], Prediction]
    source: str
    has_probabilities: bool = False
    in_turn: bool = False
    missing: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    held_out_missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def run(
        self,
        measures: Measures = DEFAULT_MEASURES,
        *,
        jobs: int = 1,
        advance: Callable[[float], None] = lambda share: None,
    ) -> Outcome:
        """Evaluate every case; one that fails is reported and the others go on.

        Args:
            measures: what to measure.
            jobs: threads. At most ``jobs + 1`` cases are in memory at a time, besides the
                predictions of the worst three. The outcome does not depend on it.
            advance: called with the finished share of the cases.

        Raises:
            ConfigError: a metric needs probabilities and there are none.
            DataError: not one case could be evaluated; the message is the first case's.
        """
        needing = measures.of_level("probability")
        if needing and not self.has_probabilities:
            raise ConfigError(
                f"{', '.join(needing)} must be measured on probabilities; there are none with "
                f"the {self.source}. Write them with tfseg predict --save-probabilities, or "
                "leave the metric out."
            )
        outcome = Outcome(self, measures)
        with closing(in_order(_call, self._calls(measures), jobs)) as found:
            for finished, measured in enumerate(found, start=1):
                outcome.add(*measured)
                advance(finished / len(self.cases))
        if not outcome.results:
            first = outcome.failed[0].error
            many = f"none of {len(self.cases)} cases could be evaluated, the first because "
            raise DataError(first if len(self.cases) == 1 else many + first)
        return outcome

    def _calls(self, measures: Measures) -> Iterator[Callable[[], tuple[Case, _Found]]]:
        """Yield a call a case; what must be done in turn is done before it is yielded."""
        for case in self.cases:
            wanted = measures.wants_probabilities and self.has_probabilities
            find = partial(self.predict, case, wanted)
            yield partial(self._measure, case, measures, _done(find) if self.in_turn else find)

    def _measure(
        self, case: Case, measures: Measures, find: Callable[[], Prediction]
    ) -> tuple[Case, _Found]:
        try:
            reference = self.dataset.read_label(case)
            mask = None
            if case.mask is not None and self.dataset.read_mask is not None:
                mask = self.dataset.read_mask(case)
            reference, mask = self.dataset.counted(reference, mask)
            prediction = find()
            result = evaluate_case(
                reference,
                prediction.labels,
                self.dataset.labels,
                measures,
                mask=mask,
                probabilities=prediction.probabilities,
                case=case.id,
            )
        except (TfsegError, MemoryError) as error:
            text = str(error) or "out of memory"
            return case, Failure(
                case=case.id, error=text if case.id in text else f"{case.id}: {text}"
            )
        return case, (result, prediction.labels)


_Found = Failure | tuple[CaseResult, Volume]


def _call(measure: Callable[[], tuple[Case, _Found]]) -> tuple[Case, _Found]:
    return measure()


def _done(call: Callable[[], Prediction]) -> Callable[[], Prediction]:
    """Call now; return a function that gives the result, or raises the error, later."""
    future: Future[Prediction] = Future()
    try:
        future.set_result(call())
    except (TfsegError, MemoryError) as error:
        future.set_exception(error)
    return future.result


@dataclass
class Outcome:
    """What an evaluation found.

    Attributes:
        results: one per evaluated case, in the order of the cases.
        failed: the cases that could not be evaluated.
        worst: (case, its prediction, its mean Dice) of the few cases with the lowest mean
            Dice, worst first; for pictures.
    """

    evaluation: Evaluation
    measures: Measures
    results: list[CaseResult] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    worst: list[tuple[Case, Volume, float]] = field(default_factory=list)

    def add(self, case: Case, found: _Found) -> None:
        """Take in one case."""
        if isinstance(found, Failure):
            self.failed.append(found)
            return
        result, prediction = found
        self.results.append(result)
        self.worst.append((case, prediction, result.mean_dice))
        self.worst.sort(key=lambda entry: worst_first(entry[2], entry[0].id))
        del self.worst[_WORST_KEPT:]

    def metrics(self) -> Metrics:
        """Return the document of this evaluation."""
        protocol = self.measures.protocol
        return Metrics(
            data=self.evaluation.dataset.name,
            source=self.evaluation.source,
            protocol=None if protocol is None else protocol.name,
            distance_unit="px" if self.evaluation.dataset.dims == 2 else "mm",
            options=self.measures.rules,
            failed=self.failed,
            missing=list(self.evaluation.missing),
            unmatched=list(self.evaluation.unmatched),
            new=list(self.evaluation.new),
            held_out_missing=list(self.evaluation.held_out_missing),
            remarks=list(self.evaluation.remarks),
            **summarise(self.results, protocol, self.evaluation.roles),
        )
