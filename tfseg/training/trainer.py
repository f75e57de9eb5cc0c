"""The training loop.

One function serves one device, several GPUs and several logical CPUs: every replica takes its
share of the batch, losses are divided by the global batch, gradients are summed. Which patches
an epoch sees follows from the seed and the epoch's number alone, so a resumed run goes on as
the uninterrupted one would have.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.config import TrainConfig
from tfseg.datasets.base import IGNORED
from tfseg.errors import DivergedError
from tfseg.files import atomic_path
from tfseg.inference.backends.keras_run import KerasBackend
from tfseg.inference.sliding import segment_array
from tfseg.losses.loss import LabelGroups, SegmentationLoss, supervised_loss
from tfseg.metrics import confusion
from tfseg.models import inference_model
from tfseg.models.config import Stage
from tfseg.pipeline.batches import patch_batches
from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.patches import PatchSampler
from tfseg.training.detection import DetectionObjective
from tfseg.training.logs import write_history
from tfseg.training.progress import TrainingDisplay
from tfseg.training.schedule import poly_rate, run_progress, time_is_up
from tfseg.training.stages import TrainedParts
from tfseg.training.state import Progress, is_whole, load_latest, save_state
from tfseg.training.validation import Validation, columns

_log = logging.getLogger(__name__)
_CHECK_EVERY = 10  # steps between looks at the loss: each look waits for the device


@dataclass
class Trainer:
    """Trains one network in one run folder.

    Attributes:
        model: with its training heads.
        strategy: the devices.
        config: of the run.
        sampler: draws training patches.
        validation: the held-out cases that choose the checkpoint, prepared; may be empty.
        loss: of one output.
        loss_weights: of the model's outputs, where there are no stages.
        folder: the run folder.
        stages: what is trained one after the other; empty is everything at once.
        groups: of the labels that each output learns; empty is the labels as they are.
        objective: what a detector learns instead of the loss of its outputs.
    """

    model: Any
    strategy: Any
    config: TrainConfig
    sampler: PatchSampler
    validation: Sequence[PreparedCase]
    loss: SegmentationLoss
    loss_weights: Sequence[float]
    folder: Path
    stages: Sequence[Stage] = ()
    groups: LabelGroups = ()
    objective: DetectionObjective | None = None

    def __post_init__(self) -> None:
        with self.strategy.scope():
            self.optimizer = make_optimizer(self.config, self.model)
        self._parts = TrainedParts(self.model, self.stages, self.config.freeze)
        self._inference = inference_model(self.model)
        self._backend = KerasBackend(self._inference)
        self._step = tf.function(self._distributed_step, reduce_retracing=False)
        self.progress = Progress()

    @property
    def _last(self) -> Path:
        return self.folder / "checkpoints" / "last.npz"

    def resume(self) -> None:
        """Go on from the run folder's last checkpoint, or from the one before if it is damaged.

        Raises:
            DataError: there is none that can be read, or it is of another network.
        """
        self.progress = progress = load_latest(self._last, self.model, self.optimizer)
        kept = self.folder / "model.keras"
        was_kept = progress.best >= 0 or not self.validation
        if progress.epoch and was_kept and not is_whole(kept):
            _log.warning(
                "%s is missing or damaged: the network of epoch %d, the last one, takes its place.",
                kept, progress.epoch,
            )  # fmt: skip
            self.save_model()
            progress.best, progress.best_epoch = -1.0, progress.epoch

    def finished(self) -> str:
        """Return why there is nothing left to train, in words; empty where there is something."""
        config, progress = self.config, self.progress
        if progress.epoch >= config.epochs:
            return f"epoch {progress.epoch} is done, and --epochs is {config.epochs}"
        if not progress.epoch or not self._parts.is_last(progress.stage):
            return ""
        if time_is_up(progress.elapsed_s, progress.epoch_s, config.time_budget_s):
            return (
                f"the time budget of {config.time_budget_s:g} s, which counts all sessions, is "
                f"used up: {progress.elapsed_s:.1f} s are trained, the last epoch took "
                f"{progress.epoch_s:.1f} s"
            )
        waited = progress.epoch - progress.best_epoch
        judged = (
            progress.history[-1]["val_dice"] is not None
        )  # between validations nothing is known
        if config.patience and judged and waited >= config.patience:
            return (
                f"no better validation Dice for {waited} epochs, and patience is {config.patience}"
            )
        return ""

    def train(self) -> Progress:
        """Train until epochs, time budget or patience end it; return the counters.

        The best network is ``model.keras`` in the run folder, the last state
        ``checkpoints/last.npz``. Of a network that is trained in stages, the full output means
        something in the last stage only: there validation and patience begin.

        Raises:
            DivergedError: the loss is not finite; the last good checkpoint stays.
        """
        writer = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
        with TrainingDisplay() as display, writer.as_default():
            if self.progress.history:  # what died after its checkpoint may have left an older one
                write_history(self.folder, self.progress.history)
            while not self.finished():
                self._epoch(display)
        writer.close()
        if not (self.folder / "model.keras").exists():  # the budget ended before a validation
            self.save_model()
        return self.progress

    def _epoch(self, display: TrainingDisplay) -> None:
        config, progress = self.config, self.progress
        started = time.monotonic()
        done = run_progress(progress.epoch, config.epochs, progress.elapsed_s, config.time_budget_s)
        self._enter_stage(done)
        rate = poly_rate(config.initial_rate, self._parts.stage_progress(progress.stage, done))
        self.optimizer.learning_rate.assign(rate)
        loss = self._train_steps(progress.epoch, display)
        progress.epoch += 1

        found: Validation | None = None
        elapsed = progress.elapsed_s + time.monotonic() - started
        if self._is_validation_epoch(elapsed, time.monotonic() - started):
            found = self.validate()
        mean = None if found is None else found.mean_dice
        if mean is not None and mean > progress.best:
            progress.best, progress.best_epoch = mean, progress.epoch
        progress.epoch_s = time.monotonic() - started
        progress.elapsed_s += progress.epoch_s
        progress.history.append(self._record(loss, rate, found))

        if not self.validation or progress.best_epoch == progress.epoch:
            self.save_model()
        save_state(self._last, self.model, self.optimizer, progress)
        write_history(self.folder, progress.history)
        left = _time_left(progress, config)
        display.epoch(progress.epoch, loss, found, left)

    def _enter_stage(self, done: float) -> None:
        """Let learn what the next epoch is for; ``done`` is the finished share of the run."""
        progress = self.progress
        stage = self._parts.next_stage(progress.stage, progress.epoch, done)
        if stage != progress.stage:
            progress.stage, progress.best_epoch = stage, progress.epoch  # patience counts anew
        if self._parts.switch(stage, progress.epoch):
            self._step = tf.function(self._distributed_step, reduce_retracing=False)

    def _is_validation_epoch(self, elapsed_s: float, epoch_s: float) -> bool:
        """Validate every few epochs and certainly after the last one."""
        if not self.validation or not self._parts.is_last(self.progress.stage):
            return False
        last = self.progress.epoch == self.config.epochs or time_is_up(
            elapsed_s, epoch_s, self.config.time_budget_s
        )
        return last or self.progress.epoch % self.config.validate_every == 0

    def _train_steps(self, epoch: int, display: TrainingDisplay) -> float:
        steps = self.config.steps_per_epoch
        batches = patch_batches(
            self.sampler,
            batch_size=self.sampler.plan.batch_size,
            first_step=epoch * steps,
            last_step=(epoch + 1) * steps,
        )
        if self.objective is not None:
            batches = self.objective.prepare(batches)
        started = time.monotonic()
        losses: list[float] = []
        waiting: list[Any] = []
        for number, batch in enumerate(batches, start=1):
            waiting.append(self._step(self._shares(batch)))
            if len(waiting) == _CHECK_EVERY or number == steps:
                losses += [float(value) for value in waiting]
                waiting.clear()
                if not math.isfinite(sum(losses)):
                    self._diverged(epoch, losses)
                done = run_progress(
                    epoch + number / steps,
                    self.config.epochs,
                    self.progress.elapsed_s + time.monotonic() - started,
                    self.config.time_budget_s,
                )
                display.step(epoch + 1, done, losses[-1])
        return float(np.mean(losses))

    def _diverged(self, epoch: int, losses: list[float]) -> None:
        first = next(index for index, value in enumerate(losses) if not math.isfinite(value))
        step = epoch * self.config.steps_per_epoch + first + 1
        kept = f"{self._last}" if self._last.exists() else "none yet"
        raise DivergedError(
            f"the loss became {losses[first]} at step {step}; training stopped. Last good "
            f"checkpoint: {kept}. Lower the learning rate (--set learning_rate="
            f"{self.config.initial_rate / 10:g}) or check the data (tfseg check)."
        )

    def _shares(self, batch: Sequence[tf.Tensor]) -> Any:
        """Return what each replica learns from: neighbouring patches, as many each.

        Not a distributed data set, which reads through one more pipeline for every device. Those
        have tf.data's tuner, whatever the options (see :func:`patch_batches`).
        """
        count = self.strategy.num_replicas_in_sync
        if count == 1:
            return batch
        with tf.device("CPU:0"):  # or all of it would go to the first GPU
            parts = [tf.split(part, count) for part in batch]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tuple(part[context.replica_id_in_sync_group] for part in parts)
        )

    def _distributed_step(self, batch: Any) -> tf.Tensor:
        shares = self.strategy.run(self._replica_step, args=(batch,))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

    def _replica_step(self, batch: Any) -> tf.Tensor:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            each = self._losses(batch)
            loss = tf.reduce_sum(each) / self.sampler.plan.batch_size
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        self.optimizer.apply(self._clipped(gradients), variables)
        return loss

    def _losses(self, batch: Any) -> tf.Tensor:
        """Return the loss of every sample of a batch, (batch,)."""
        if self.objective is not None:
            return self.objective(batch)
        images, labels, *maps = batch
        outputs = self.model(images, training=True)
        return supervised_loss(
            self.loss,
            labels,
            outputs if isinstance(outputs, list | tuple) else [outputs],
            self._parts.loss_weights(self.progress.stage, self.loss_weights),
            image=images,
            voxel_map=maps[0] if maps else None,
            groups=self.groups,
        )

    def _clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Scale this replica's gradients by what brings the summed ones' norm to the limit."""
        total = gradients
        if self.strategy.num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        limit = self.optimizer.scale_loss(tf.constant(self.config.clip_norm, tf.float32))
        factor = limit / tf.maximum(tf.linalg.global_norm(total), limit)
        return [gradient * tf.cast(factor, gradient.dtype) for gradient in gradients]

    def validate(self) -> Validation:
        """Segment the validation cases as a whole and count what is right and wrong."""
        plan = self.sampler.plan
        counted = Validation.begin(plan.num_classes)
        for case in self.validation:
            labels = segment_array(np.asarray(case.image), self._backend, plan)
            known = np.asarray(case.label)
            counted = counted.add(confusion(known, labels, plan.num_classes, known != IGNORED))
        return counted

    def save_model(self) -> None:
        """Write the network without training heads to ``model.keras``, atomically."""
        with atomic_path(self.folder / "model.keras") as temporary:
            self._inference.save(temporary)

    def _record(
        self, loss: float, rate: float, found: Validation | None
    ) -> dict[str, float | int | None]:
        progress, labels = self.progress, self.sampler.plan.labels
        record: dict[str, float | int | None] = {
            "step": progress.epoch * self.config.steps_per_epoch,
            "epoch": progress.epoch,
            "seconds": round(progress.elapsed_s, 3),
            "loss": loss,
            "learning_rate": rate,
            "val_dice": None if found is None else found.mean_dice,
            **columns(found, labels),
        }
        for name, figure in record.items():
            if figure is not None and name not in {"step", "epoch"}:
                tf.summary.scalar(name, figure, step=progress.epoch)
        return record


def make_optimizer(config: TrainConfig, model: Any) -> Any:
    """Return the run's optimizer, built for the model's variables."""
    if config.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(
            config.initial_rate, weight_decay=config.weight_decay, beta_2=0.99
        )
    else:
        optimizer = keras.optimizers.SGD(
            config.initial_rate,
            momentum=0.99,
            nesterov=True,
            weight_decay=config.weight_decay,
        )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if keras.mixed_precision.dtype_policy().compute_dtype == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer


def _time_left(progress: Progress, config: TrainConfig) -> float:
    per_epoch = progress.elapsed_s / progress.epoch
    by_epochs = (config.epochs - progress.epoch) * per_epoch
    if config.time_budget_s is None:
        return by_epochs
    return min(by_epochs, config.time_budget_s - progress.elapsed_s)
