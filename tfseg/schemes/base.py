"""What a training scheme is: networks, what they learn from, and one step.

The engine (:mod:`tfseg.training.engine`) drives any scheme and knows none by name. A scheme says
which networks there are, which streams of samples it wants, and what a step does with a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import tensorflow as tf

from tfseg.config import TrainConfig
from tfseg.models.config import ModelConfig
from tfseg.pipeline.cache import PreparedCase
from tfseg.pipeline.streams import Stream
from tfseg.plan import Plan
from tfseg.progress import Progress
from tfseg.schemes.learner import Learner

SEGMENTER = "segmenter"  # the network that every scheme has, and that the run is for

Batch = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class Task:
    """What a scheme is set.

    Attributes:
        config: of the run.
        network: the parsed options of the segmenter.
        plan: of the run.
    """

    config: TrainConfig
    network: ModelConfig
    plan: Plan


class Scheme(Protocol):
    """A way of training.

    Attributes:
        name: in the registry.
    """

    name: ClassVar[str]

    @classmethod
    def complete(cls, task: Task, labels: int, ignored: int | None) -> Task:
        """Return the task with what follows from the data set.

        Args:
            task: as the user gave it.
            labels: number of the data set's labels.
            ignored: the value in its label maps that says "unknown"; ``None`` if it has none.

        Raises:
            ConfigError: the scheme cannot leave voxels out.
        """

    @classmethod
    def check(cls, task: Task) -> None:
        """Refuse what cannot work, before anything is read or written.

        Raises:
            ConfigError: names the setting, the rule and what to do.
        """

    @classmethod
    def prepare(
        cls, task: Task, cases: Sequence[PreparedCase], progress: Progress
    ) -> tuple[Task, Sequence[PreparedCase]]:
        """Look at the prepared training cases once; return what is known now."""

    def __init__(self, task: Task, cases: Sequence[PreparedCase]) -> None:
        """Build the networks. The engine's strategy is in scope."""

    def learners(self) -> Mapping[str, Learner]:
        """Return every network that learns, by name; one is :data:`SEGMENTER`."""

    def streams(self) -> Mapping[str, Stream]:
        """Return what samples a step takes, by name."""

    def train_step(self, batch: Mapping[str, Batch]) -> dict[str, tf.Tensor]:
        """Learn from one replica's share of a batch; called inside the strategy's replicas.

        Args:
            batch: for each stream its tensors by name, samples along the first axis.

        Returns:
            Losses by name, each the sum over this share divided by the samples of *all* replicas;
            ``loss`` is what the history calls the loss.
        """

    def begin_epoch(self, epoch: int, done: float) -> bool:
        """Let learn what the next epoch is for.

        Args:
            epoch: finished epochs.
            done: finished share of the run, in [0, 1].

        Returns:
            Whether a step has to be traced anew.
        """

    def pace(self, done: float) -> float:
        """Set the learning rates for a finished share of the run; return the segmenter's."""

    def is_ready(self) -> bool:
        """Tell whether the product answers what the run is for, so that it can be judged."""

    def is_over(self, done: float) -> bool:
        """Tell whether the present part of the training has had its share of the run."""

    def product(self) -> Any:
        """Return the network that the run is for, without what only training needs."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps besides variables, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
