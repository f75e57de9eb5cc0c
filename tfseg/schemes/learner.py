"""A network that learns: its optimizer, the limit of its gradients, the average of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfseg.config import TrainConfig
from tfseg.schemes.schedule import rate_factor


class Learner:
    """One network and what changes it.

    Built inside the strategy's scope.

    Args:
        network: a Keras model.
        config: of the run: optimizer, learning rate, schedule, limit of the gradient norm, average.
    """

    def __init__(self, network: Any, config: TrainConfig) -> None:
        self.network = network
        self._config = config
        self.optimizer = make_optimizer(config, network)
        self.average = Average(network, config.average) if config.average else None

    @property
    def variables(self) -> Mapping[str, Sequence[Any]]:
        """Everything that a checkpoint holds of it, by owner."""
        found = {"network": self.network.variables, "optimizer": self.optimizer.variables}
        if self.average is not None:
            found["average"] = self.average.variables
        return found

    def pace(self, done: float) -> float:
        """Set the learning rate for the finished share of a run, or of its part; return it."""
        factor = rate_factor(self._config.schedule, done, self._config.warmup)
        rate = self._config.initial_rate * factor
        self.optimizer.learning_rate.assign(rate)
        return rate

    def minimise(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """Take one step down a loss; called inside a replica, once for each step.

        Args:
            tape: has recorded the loss, and still records: the loss is scaled on it.
            loss: this replica's share of the sum over all replicas.
        """
        variables = self.network.trainable_variables
        with tape:
            scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply(self._clipped(tape.gradient(scaled, variables)), variables)

    def _clipped(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Scale this replica's gradients by what brings the summed ones' norm to the limit."""
        total = gradients
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        limit = self.optimizer.scale_loss(tf.constant(self._config.clip_norm, tf.float32))
        factor = limit / tf.maximum(tf.linalg.global_norm(total), limit)
        return [gradient * tf.cast(factor, gradient.dtype) for gradient in gradients]

    def after_step(self) -> None:
        """Move the average; called once a step outside the replicas."""
        if self.average is not None:
            self.average.move()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have its averaged weights while the block runs."""
        if self.average is None:
            yield
            return
        with self.average.in_place():
            yield


class Average:
    """The exponential moving average of a network's floating-point variables.

    What a network has learned at the end of a run is its weights' mean over the last steps, which
    generalises better than any single step's (Polyak, Juditsky 1992, doi:10.1137/0330046; Izmailov
    et al. 2018, arXiv:1803.05407). Moving statistics of normalisation are averaged alike.

    Args:
        network: a Keras model, built inside the strategy's scope.
        decay: how much of the average a step keeps, at most; at step t at most (1 + t) / (10 + t),
            so that the first steps are soon forgotten.
    """

    def __init__(self, network: Any, decay: float) -> None:
        self._decay = decay
        self._sources = [one for one in network.variables if one.dtype in {"float32", "float64"}]
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._means = [
            tf.Variable(one.value, trainable=False, dtype=one.dtype) for one in self._sources
        ]

    @property
    def variables(self) -> Sequence[Any]:
        """The number of steps, and the averages."""
        return [self._steps, *self._means]

    def restart(self) -> None:
        """Begin anew at the network's present weights."""
        self._steps.assign(0)
        for mean, source in zip(self._means, self._sources, strict=True):
            mean.assign(source.value)

    def move(self) -> None:
        """Count in the network's present weights."""
        done = tf.cast(self._steps.assign_add(1), tf.float64)
        kept = tf.minimum(tf.constant(self._decay, tf.float64), (1 + done) / (10 + done))
        for mean, source in zip(self._means, self._sources, strict=True):
            value = tf.convert_to_tensor(source.value)
            share = tf.cast(1 - kept, value.dtype)
            mean.assign_add(share * (value - tf.convert_to_tensor(mean)))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages in the network's place while the block runs."""
        kept = [source.numpy() for source in self._sources]
        for source, mean in zip(self._sources, self._means, strict=True):
            source.assign(mean.numpy())
        try:
            yield
        finally:
            for source, value in zip(self._sources, kept, strict=True):
                source.assign(value)


def make_optimizer(config: TrainConfig, network: Any) -> Any:
    """Return the run's optimizer, built for a network's variables."""
    options: dict[str, Any] = {"weight_decay": config.weight_decay}
    if config.accumulate > 1:
        options["gradient_accumulation_steps"] = config.accumulate
    if config.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(config.initial_rate, beta_2=0.99, **options)
    else:
        optimizer = keras.optimizers.SGD(
            config.initial_rate, momentum=0.99, nesterov=True, **options
        )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if keras.mixed_precision.dtype_policy().compute_dtype == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    return optimizer
