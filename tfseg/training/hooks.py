"""What happens besides the steps: validation, patience, the network's file, history, display."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfseg.datasets.base import IGNORED
from tfseg.files import atomic_path, write_text
from tfseg.inference.backends.keras_run import KerasBackend
from tfseg.inference.sliding import segment_array
from tfseg.metrics import confusion
from tfseg.pipeline.cache import PreparedCase
from tfseg.plan import Plan
from tfseg.schemes.base import SEGMENTER
from tfseg.training.display import TrainingDisplay
from tfseg.training.validation import Validation, columns

if TYPE_CHECKING:
    from tfseg.training.engine import Engine

Record = dict[str, float | int | None]

_WATCHING = 0.1  # of a time budget that validations may take
_AFTER_S = 5.0  # for what a command does at its end besides: the network's file, the report
_MEASURING = 1.5  # what measuring a case takes, in validations of it: distances come on top
_LARGEST_RESERVE = 0.4  # of a time budget, for what follows the training


class Hook:
    """Does nothing; others override what they need."""

    def begin(self, engine: Engine) -> None:
        """Before the first step of a session."""

    def look(self, engine: Engine, loss: float, done: float) -> None:
        """Every few steps, with the last loss and the finished share of the run."""

    def after_epoch(self, engine: Engine, record: Record) -> None:
        """After an epoch, before its checkpoint; may add to the record."""

    def after_checkpoint(self, engine: Engine, record: Record) -> None:
        """After an epoch and its checkpoint."""

    def finished(self, engine: Engine) -> str:
        """Return why the training shall end, in words; empty where it shall go on."""
        del engine
        return ""

    def close(self) -> None:
        """At the end of a session, also where an error ended it."""

    def end(self, engine: Engine) -> None:
        """After the last epoch, where all went well."""


class Watch(Hook):
    """Validation: segments the validation cases as a whole every few epochs. It only watches.

    With a time budget it takes a tenth of it at most. One case is segmented before the first step,
    all of them after the first epoch: that tells how long the figures of the held-out cases will
    take, which the budget includes.

    Args:
        product: the network that is judged.
        cases: validation cases, prepared.
        plan: of the run.
        held_out: number of cases that are measured at the end.
    """

    def __init__(
        self, product: Any, cases: Sequence[PreparedCase], plan: Plan, held_out: int
    ) -> None:
        self._backend = KerasBackend(product)
        self._cases, self._plan, self._held_out = cases, plan, held_out
        self._last_s = 0.0  # seconds that the last validation took
        self._ended = 0.0  # when it did

    def begin(self, engine: Engine) -> None:
        """See how long a case takes, where there is a time budget."""
        if engine.config.time_budget_s is not None and self._cases:
            started = time.monotonic()
            segment_array(np.asarray(self._cases[0].image), self._backend, self._plan)
            self._reserve(engine, time.monotonic() - started)

    def after_epoch(self, engine: Engine, record: Record) -> None:
        """Validate where it is time to, and put the figures into the record."""
        found: Validation | None = None
        if self._is_due(engine):
            started = time.monotonic()
            with engine.scheme.learners()[SEGMENTER].averaged():
                found = self.validate()
            self._ended = time.monotonic()
            self._last_s = self._ended - started
            self._reserve(engine, self._last_s / len(self._cases))
        record["val_dice"] = None if found is None else found.mean_dice
        record |= columns(found, self._plan.labels)

    def _is_due(self, engine: Engine) -> bool:
        if not self._cases or not engine.scheme.is_ready():
            return False
        epoch, config = engine.counters.epoch, engine.config
        if config.time_budget_s is None:
            return epoch == config.epochs or epoch % config.validate_every == 0
        if engine.is_time_up():  # the figures of all held-out cases follow
            return False
        if not self._last_s:
            return True
        waited = time.monotonic() - self._ended
        return epoch % config.validate_every == 0 and waited >= self._last_s / _WATCHING

    def _reserve(self, engine: Engine, each_s: float) -> None:
        """Keep what is needed of a time budget where a case takes ``each_s``."""
        budget = engine.config.time_budget_s
        if budget is not None:
            need = _AFTER_S + each_s * self._held_out * _MEASURING
            engine.reserve_s = min(need, _LARGEST_RESERVE * budget)

    def validate(self) -> Validation:
        """Segment the validation cases as a whole and count what is right and wrong."""
        plan = self._plan
        counted = Validation.begin(plan.num_classes)
        for case in self._cases:
            labels = segment_array(np.asarray(case.image), self._backend, plan)
            known = np.asarray(case.label)
            counted = counted.add(confusion(known, labels, plan.num_classes, known != IGNORED))
        return counted


class Patience(Hook):
    """Ends a run whose validation Dice has not risen for some epochs.

    Args:
        epochs: how many.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def finished(self, engine: Engine) -> str:
        """Compare the last validation with the best one."""
        judged = [(one["val_dice"], one["epoch"]) for one in engine.counters.history]
        known = [(dice, epoch) for dice, epoch in judged if dice is not None and epoch is not None]
        if not known or judged[-1][0] is None:  # between validations nothing is known
            return ""
        best = max(dice for dice, _ in known)
        waited = engine.counters.epoch - next(epoch for dice, epoch in known if dice == best)
        if waited < self._epochs:
            return ""
        return f"no better validation Dice for {waited} epochs, and patience is {self._epochs}"


class Product(Hook):
    """Writes the network without training heads, with its averaged weights, to ``model.keras``.

    Now and then, so that a run that goes on can be looked at, and at the end.
    """

    NAME = "model.keras"

    def __init__(self, product: Any) -> None:
        self._product = product
        self._written = 0  # after which step

    def after_checkpoint(self, engine: Engine, record: Record) -> None:
        """Write it with every validation, or as often where there is none."""
        every = engine.counters.epoch % engine.config.validate_every == 0
        judged = record.get("val_dice") is not None
        if engine.scheme.is_ready() and (judged or every):
            self._write(engine)

    def end(self, engine: Engine) -> None:
        """Write the final one."""
        if self._written != engine.counters.step or not (engine.folder / self.NAME).is_file():
            self._write(engine)

    def _write(self, engine: Engine) -> None:
        with (
            engine.scheme.learners()[SEGMENTER].averaged(),
            atomic_path(engine.folder / self.NAME) as temporary,
        ):
            self._product.save(temporary)
        self._written = engine.counters.step


class History(Hook):
    """Keeps ``history.csv``, one row an epoch, and the same figures for TensorBoard."""

    def begin(self, engine: Engine) -> None:
        """Open the file for TensorBoard; what died after its checkpoint left an older history."""
        self._writer = tf.summary.create_file_writer(str(engine.folder / "tensorboard"))
        if engine.counters.history:
            write_history(engine.folder, engine.counters.history)

    def after_checkpoint(self, engine: Engine, record: Record) -> None:
        """Write the record."""
        with self._writer.as_default():
            for name, figure in record.items():
                if figure is not None and name not in {"step", "epoch"}:
                    tf.summary.scalar(name, figure, step=engine.counters.epoch)
        write_history(engine.folder, engine.counters.history)

    def close(self) -> None:
        """Close the file for TensorBoard."""
        self._writer.close()


def write_history(folder: Path, history: Sequence[Record]) -> None:
    """Write ``history.csv``, one row an epoch; what was not measured stays empty."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in history for name in record))
    table = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_text(folder / "history.csv", text.getvalue())


class Show(Hook):
    """Shows the run on the terminal."""

    def begin(self, engine: Engine) -> None:
        """Open the display."""
        self._display = TrainingDisplay()
        self._started = engine.elapsed_s()
        self._from = engine.done(engine.counters.epoch)
        self._display.open()

    def look(self, engine: Engine, loss: float, done: float) -> None:
        """Show how far the run is."""
        self._display.step(engine.counters.epoch + 1, done, loss, self._left_s(engine, done))

    def after_checkpoint(self, engine: Engine, record: Record) -> None:
        """Show an epoch as finished, and its validation where there was one."""
        done = engine.done(engine.counters.epoch)
        self._display.epoch(record, self._left_s(engine, done))

    def _left_s(self, engine: Engine, done: float) -> float:
        """Return the seconds that the rest takes if it goes on as in this session."""
        trained = done - self._from
        if trained <= 0:
            return 0.0
        return (engine.elapsed_s() - self._started) / trained * (1 - done)

    def close(self) -> None:
        """Close the display."""
        self._display.close()
