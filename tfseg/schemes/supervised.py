"""Training a network from labelled patches: one network, one loss, all in one or in stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfseg.datasets.base import IGNORED
from tfseg.errors import ConfigError
from tfseg.losses import build_loss, fill_frequencies, leave_out, wants_frequencies
from tfseg.losses.loss import supervised_loss
from tfseg.models import inference_model, model_info
from tfseg.models.same_size import build_same_size
from tfseg.pipeline.augment import check_augmentation
from tfseg.pipeline.cache import PreparedCase, with_voxel_maps
from tfseg.pipeline.patches import PatchSampler
from tfseg.pipeline.streams import Stream, labelled
from tfseg.progress import Progress
from tfseg.schemes.base import SEGMENTER, Batch, Task
from tfseg.schemes.learner import Learner
from tfseg.schemes.stages import TrainedParts, check_epochs

PATCHES = "labelled"


class Supervised:
    """One network that learns from labelled patches.

    The loss is that of every training output, weighted (:func:`supervised_loss`). Where the
    network's configuration names stages, they learn one after the other.

    Args:
        task: see :class:`Task`; its loss has what :meth:`prepare` fills in.
        cases: prepared training cases, with the voxel map that the loss asks for.
    """

    name: ClassVar[str] = "supervised"

    def __init__(self, task: Task, cases: Sequence[PreparedCase]) -> None:
        config, plan = task.config, task.plan
        self._task = task
        self._sampler = PatchSampler(
            cases, plan, config.augmentation, config.foreground, config.seed
        )
        shape = (*plan.patch_size, len(plan.channels))
        model = build_same_size(config.model, shape, plan.num_classes, task.network)
        self._loss = build_loss(config.loss)
        self._groups = task.network.label_groups(plan.num_classes)
        self._weights = model_info(config.model).loss_weights
        self._parts = TrainedParts(model, task.network.training_stages(), config.freeze)
        self._stage = 0
        self._learner = Learner(model, config)
        self._product = inference_model(model)

    @classmethod
    def complete(cls, task: Task, labels: int, ignored: int | None) -> Task:
        """Let the loss leave out the voxels that the data set says nothing of."""
        known = () if ignored is None else (ignored, IGNORED)
        loss = leave_out(task.config.loss, -1 if ignored is None else IGNORED, known, labels)
        if ignored is None:
            return task
        return replace(task, config=task.config.model_copy(update={"loss": loss}))

    @classmethod
    def check(cls, task: Task) -> None:
        """Refuse a loss that does not fit all training outputs, and a run too short.

        Raises:
            ConfigError: e.g. a class weight for each label, where an output has groups of labels.
        """
        loss, plan = build_loss(task.config.loss), task.plan
        loss.map_maker()
        check_augmentation(task.config.augmentation, plan)
        check_epochs(task.network.training_stages(), task.config.epochs)
        loss.check(plan.patch_size, plan.num_classes, len(plan.channels))
        groups = task.network.label_groups(plan.num_classes)
        grouped = [group for group in groups if group is not None]
        if grouped and loss.map_maker():
            raise ConfigError(
                "a loss with a map of voxel weights must have the same labels at every training "
                f"output; got {loss.expression!r}, and this network's stages learn groups of "
                "labels. Use a loss without a map."
            )
        for classes in sorted({max(group) + 1 for group in grouped} - {plan.num_classes}):
            try:
                loss.check(plan.patch_size, classes, len(plan.channels))
            except ConfigError as error:
                raise ConfigError(
                    f"the loss must fit a stage that learns {classes} groups of labels, too: "
                    f"{error}"
                ) from error

    @classmethod
    def prepare(
        cls, task: Task, cases: Sequence[PreparedCase], progress: Progress
    ) -> tuple[Task, Sequence[PreparedCase]]:
        """Count the classes' frequencies and make the voxel maps, where the loss takes them."""
        config = task.config
        if wants_frequencies(config.loss):
            walk = progress.track(cases, "Counting voxels")
            counted = class_frequencies(walk, task.plan.num_classes)
            loss = fill_frequencies(config.loss, *counted)
            task = replace(task, config=config.model_copy(update={"loss": loss}))
        maker = build_loss(task.config.loss).map_maker()
        if maker is not None:
            make, key = maker
            cases = with_voxel_maps(
                cases,
                make,
                key,
                task.plan,
                lambda waiting: progress.track(waiting, "Preparing voxel weights"),
            )
        return task, cases

    def learners(self) -> Mapping[str, Learner]:
        """Return the one network."""
        return {SEGMENTER: self._learner}

    def streams(self) -> Mapping[str, Stream]:
        """Return the stream of patches."""
        return {PATCHES: labelled(self._sampler)}

    def train_step(self, batch: Mapping[str, Batch]) -> dict[str, tf.Tensor]:
        """Learn from a share of the patches."""
        with tf.GradientTape() as tape:
            each = self.losses(batch[PATCHES])
            loss = tf.reduce_sum(each) / self._task.plan.batch_size
        self._learner.minimise(tape, loss)
        return {"loss": loss}

    def losses(self, batch: Batch) -> tf.Tensor:
        """Return the loss of every sample of a batch, (batch,)."""
        outputs = self._learner.network(batch["image"], training=True)
        return supervised_loss(
            self._loss,
            batch["label"],
            outputs if isinstance(outputs, list | tuple) else [outputs],
            self._parts.loss_weights(self._stage, self._weights),
            image=batch["image"],
            voxel_map=batch.get("voxel_map"),
            groups=self._groups,
        )

    def begin_epoch(self, epoch: int, done: float) -> bool:
        """Let learn the stage whose share of the run it is."""
        self._stage = self._parts.next_stage(self._stage, epoch, done)
        return self._parts.switch(self._stage, epoch)

    def pace(self, done: float) -> float:
        """Set the learning rate; it falls in every stage."""
        return self._learner.pace(self._parts.stage_progress(self._stage, done))

    def is_ready(self) -> bool:
        """Tell whether the full output learns: in the last stage."""
        return self._parts.is_last(self._stage)

    def is_over(self, done: float) -> bool:
        """Tell whether the stage has had its share of the run."""
        return self._parts.stage_progress(self._stage, done) >= 1

    def product(self) -> Any:
        """Return the network without training heads."""
        return self._product

    def state(self) -> dict[str, Any]:
        """Return the stage."""
        return {"stage": self._stage}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back the stage."""
        self._stage = int(state["stage"])


def class_frequencies(
    cases: Iterable[PreparedCase], classes: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Return how frequent the classes are, background first, each above 0.

    Returns:
        The share of all voxels that are of each class; and the share of the voxels of those
        cases that have the class (Badrinarayanan et al. 2015, arXiv:1511.00561). A class that
        no case has counts as one voxel.
    """
    counts, hosts = np.zeros(classes), np.zeros(classes)
    total = 0
    for case in cases:
        # What is beyond the classes is ignored.
        found = sum(np.bincount(piece.ravel(), minlength=classes)[:classes] for piece in case.label)
        counts += found
        hosts += np.where(found > 0, np.sum(found), 0)
        total += int(np.sum(found))
    counts = np.maximum(counts, 1)
    hosts = np.where(hosts > 0, hosts, total)
    # Digits that count: the text of the loss is read by people.
    return _rounded(counts / total), _rounded(counts / hosts)


def _rounded(shares: np.ndarray) -> list[float]:
    return [float(f"{share:.6g}") for share in shares]
