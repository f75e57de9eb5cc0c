"""The training loop: drives any scheme, and knows none by name.

One loop serves one device, several GPUs, several logical CPUs and several machines: every replica
takes its share of the batch, losses are divided by the global batch, gradients are summed. Of
several machines each makes its own share of the batch, the chief's clock counts, and the chief
alone writes. Which samples a step sees follows from the seed and the step's number alone, so a
resumed run goes on as the uninterrupted one would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfseg.config import TrainConfig
from tfseg.errors import DivergedError
from tfseg.pipeline.streams import batches
from tfseg.schemes.base import Scheme
from tfseg.training import checkpoint
from tfseg.training.checkpoint import Counters
from tfseg.training.hooks import Hook, Record
from tfseg.workers import read_workers

_CHECK_EVERY = 10  # steps between looks at the loss, at most: each look waits for the device
_CHECK_AFTER_S = 1.0  # seconds after which a look is due however few the steps were


class Engine:
    """Trains a scheme's networks in a run folder.

    Args:
        scheme: what is trained; built in the strategy's scope.
        strategy: the devices.
        config: of the run: its length, and what messages name.
        folder: the run folder.
        hooks: what happens after an epoch, in this order; then the checkpoint is written.
        began: when the command began, by :func:`time.monotonic`; a time budget counts from there.
    """

    def __init__(
        self,
        scheme: Scheme,
        strategy: Any,
        config: TrainConfig,
        folder: Path,
        hooks: Sequence[Hook] = (),
        began: float | None = None,
    ) -> None:
        self.scheme, self.strategy, self.config, self.folder = scheme, strategy, config, folder
        self.counters = Counters()
        self.hooks = hooks
        self.reserve_s = 0.0  # of the time budget, for what follows the training
        self._began = time.monotonic() if began is None else began
        self._before_s = 0.0  # of earlier sessions
        self._workers = read_workers()
        self._agreed: tuple[float, float] | None = None  # the chief's clock and reserve
        self._streams = scheme.streams()
        self._learners = scheme.learners()
        self._step = self._traced()
        self._of_chief = tf.function(self._said)

    @property
    def checkpoint(self) -> Path:
        """Where the last checkpoint lies."""
        return self.folder / "checkpoints" / "last.npz"

    @property
    def groups(self) -> dict[str, Sequence[Any]]:
        """Every variable that a checkpoint holds, by owner."""
        return {
            f"{name}/{owner}": variables
            for name, learner in self._learners.items()
            for owner, variables in learner.variables.items()
        }

    def resume(self) -> None:
        """Go on from the run folder's last checkpoint, or from the one before if it is damaged.

        Raises:
            DataError: there is none that can be read, or it is of another network.
        """
        self.counters = checkpoint.load_latest(self.checkpoint, self.groups)
        self.scheme.restore(self.counters.scheme)
        self._before_s = self.counters.elapsed_s

    def elapsed_s(self) -> float:
        """Return the seconds since the run's command began, over all sessions."""
        return self._before_s + time.monotonic() - self._began

    def done(self, epoch: float) -> float:
        """Return the finished share of the run, the larger of epochs' and time's, in [0, 1].

        Args:
            epoch: finished epochs, with a fraction for the one that goes on.
        """
        by_time = 0.0
        if self.config.time_budget_s is not None:
            elapsed_s, reserve_s = self._clock()
            by_time = elapsed_s / max(1e-9, self.config.time_budget_s - reserve_s)
        return min(1.0, max(epoch / self.config.epochs, by_time))

    def is_time_up(self) -> bool:
        """Tell whether the time budget is used up but for what follows the training."""
        budget = self.config.time_budget_s
        elapsed_s, reserve_s = self._clock()
        return budget is not None and elapsed_s >= budget - reserve_s

    def _clock(self) -> tuple[float, float]:
        """Return elapsed and reserved seconds; of several machines, those last agreed on."""
        return self._agreed or (self.elapsed_s(), self.reserve_s)

    def _agree(self) -> None:
        """Let all machines have the chief's clock: what they do next must be the same."""
        if self._workers.count > 1:
            mine = [self.elapsed_s(), self.reserve_s]
            elapsed_s, reserve_s = self._of_chief(tf.constant(mine, tf.float32)).numpy()
            self._agreed = float(elapsed_s), float(reserve_s)

    def _said(self, values: tf.Tensor) -> tf.Tensor:
        """Return the chief's values on every machine."""

        def given(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            first = tf.cast(context.replica_id_in_sync_group == 0, values.dtype)
            return first * values

        shares = self.strategy.run(given, args=(values,))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

    def _has_ended(self) -> bool:
        """Tell whether the training ends, which is the chief's to say."""
        ended = bool(self.finished())
        if self._workers.count > 1:
            ended = bool(self._of_chief(tf.constant(float(ended))).numpy() > 0)
        return ended

    def finished(self) -> str:
        """Return why there is nothing left to train, in words; empty where there is something."""
        counters = self.counters
        if counters.epoch >= self.config.epochs:
            return f"{counters.epoch} epochs are done, of {self.config.epochs}"
        if not counters.epoch or not self.scheme.is_ready():
            return ""
        if self.is_time_up():
            return (
                f"the time budget of {self.config.time_budget_s:g} s, which counts all sessions, "
                f"is used up: {counters.elapsed_s:.1f} s have passed"
            )
        return next(filter(None, (hook.finished(self) for hook in self.hooks)), "")

    def train(self) -> Counters:
        """Train until epochs, time budget or a hook ends it; return the counters.

        Raises:
            DivergedError: the loss is not finite; the last good checkpoint stays.
        """
        for hook in self.hooks:
            hook.begin(self)
        try:
            self._agree()
            while not self._has_ended():
                self._epoch()
        finally:
            for hook in self.hooks:
                hook.close()
        for hook in self.hooks:
            hook.end(self)
        return self.counters

    def _epoch(self) -> None:
        counters = self.counters
        if self.scheme.begin_epoch(counters.epoch, self.done(counters.epoch)):
            self._step = self._traced()
        losses, rate = self._steps()
        counters.epoch += 1
        record: Record = {
            "step": counters.step,
            "epoch": counters.epoch,
            "seconds": round(self.elapsed_s(), 3),
            **losses,
            "learning_rate": rate,
        }
        counters.scheme = self.scheme.state()
        counters.history.append(record)
        for hook in self.hooks:
            hook.after_epoch(self, record)
        counters.elapsed_s = self.elapsed_s()
        if self._workers.is_chief:
            checkpoint.save(self.checkpoint, self.groups, counters)
        for hook in self.hooks:
            hook.after_checkpoint(self, record)
        self._agree()

    def _steps(self) -> tuple[dict[str, float], float]:
        """Do the steps of an epoch; return the mean of every loss, and the last learning rate.

        An epoch ends early where its time is up.
        """
        counters, steps = self.counters, self.config.steps_per_epoch
        first, rate = counters.step, 0.0
        waiting: list[Mapping[str, tf.Tensor]] = []
        totals: dict[str, float] = {}
        workers = self._workers
        data = batches(
            self._streams,
            first_step=first,
            last_step=first + steps,
            share=(workers.index, workers.count),
        )
        looked = time.monotonic()
        for number, batch in enumerate(data, start=1):
            rate = self.scheme.pace(self.done(counters.epoch + (number - 1) / steps))
            waiting.append(self._step(self._shares(batch)))
            counters.step += 1
            soon = workers.count > 1 or time.monotonic() - looked < _CHECK_AFTER_S
            if soon and len(waiting) < _CHECK_EVERY and number < steps:
                continue
            latest = self._collect(waiting, totals)
            waiting.clear()
            looked = time.monotonic()
            self._agree()
            done = self.done(counters.epoch + number / steps)
            for hook in self.hooks:
                hook.look(self, latest, done)
            if self.is_time_up() and (self.scheme.is_ready() or self.scheme.is_over(done)):
                break
        count = counters.step - first
        return {name: total / count for name, total in totals.items()}, rate

    def _collect(
        self, waiting: Sequence[Mapping[str, tf.Tensor]], totals: dict[str, float]
    ) -> float:
        """Add the losses of some steps to their totals; return the last one."""
        latest = 0.0
        for index, losses in enumerate(waiting):
            for name, value in losses.items():
                found = float(value)
                if not math.isfinite(found):
                    self._diverged(name, found, self.counters.step - len(waiting) + index + 1)
                totals[name] = totals.get(name, 0.0) + found
            latest = float(losses["loss"])
        return latest

    def _diverged(self, name: str, value: float, step: int) -> None:
        kept = f"{self.checkpoint}" if self.checkpoint.exists() else "none yet"
        raise DivergedError(
            f"the {name} became {value} at step {step}; training stopped. Last good checkpoint: "
            f"{kept}. Lower the learning rate (learning_rate={self.config.initial_rate / 10:g}) or "
            "check the data (tfseg check)."
        )

    def _shares(self, batch: Any) -> Any:
        """Return what each replica learns from: neighbouring samples, as many each.

        Not a distributed data set, which reads through one more pipeline for every device. Those
        have tf.data's tuner, whatever the options (see :func:`tfseg.pipeline.streams.batches`).
        """
        count = self.strategy.num_replicas_in_sync // self._workers.count
        if count == 1:
            return batch
        with tf.device("CPU:0"):  # or all of it would go to the first GPU
            parts = {
                stream: {name: tf.split(tensor, count) for name, tensor in tensors.items()}
                for stream, tensors in batch.items()
            }

        def share(context: Any) -> Any:
            index = context.replica_id_in_sync_group % count
            return {
                stream: {name: pieces[index] for name, pieces in tensors.items()}
                for stream, tensors in parts.items()
            }

        return self.strategy.experimental_distribute_values_from_function(share)

    def _traced(self) -> Any:
        return tf.function(self._distributed_step, reduce_retracing=False)

    def _distributed_step(self, batch: Any) -> dict[str, tf.Tensor]:
        shares = self.strategy.run(self.scheme.train_step, args=(batch,))
        for learner in self._learners.values():
            learner.after_step()
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.SUM, share, axis=None)
            for name, share in shares.items()
        }
