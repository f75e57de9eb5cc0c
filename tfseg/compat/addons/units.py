"""Maxout and stochastic depth."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.compat.addons.names import of_addons
from tfseg.errors import ConfigError


@of_addons
class Maxout(keras.layers.Layer):
    """The greatest of each group of features along ``axis``, ``num_units`` groups.

    Features i, i + num_units, i + 2 num_units, ... are group i, the order of Addons. Goodfellow
    et al. 2013, arXiv:1302.4389.

    Raises:
        ConfigError: the features do not divide into ``num_units`` groups.
    """

    def __init__(self, num_units: int, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_units = num_units
        self.axis = axis

    def call(self, x: tf.Tensor) -> tf.Tensor:
        axis = self.axis % len(x.shape)
        features = x.shape[axis]
        if features is None or features % self.num_units:
            raise ConfigError(
                f"Maxout: num_units must divide the features along axis {self.axis}; "
                f"got {self.num_units} for {features}. Choose a divisor."
            )
        sizes = [tf.shape(x)[i] if size is None else size for i, size in enumerate(x.shape)]
        sizes[axis : axis + 1] = [features // self.num_units, self.num_units]
        return tf.reduce_max(tf.reshape(x, sizes), axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = list(input_shape)
        shape[self.axis] = self.num_units
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_units": self.num_units, "axis": self.axis}


@of_addons
class StochasticDepth(keras.layers.Layer):
    """[shortcut, residual] -> shortcut + b residual, b = 1 with the survival probability p.

    One b is drawn for a whole batch in training, 0 or 1; at inference b is p. Huang et al. 2016,
    arXiv:1603.09382.

    Args:
        survival_probability: p.
        seed: of the draws.
        **kwargs: those of any layer.

    Raises:
        ConfigError: p is not in [0, 1].
    """

    def __init__(
        self, survival_probability: float = 0.5, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= survival_probability <= 1:
            raise ConfigError(
                "StochasticDepth: survival_probability must be in [0, 1]; "
                f"got {survival_probability}."
            )
        self.survival_probability = survival_probability
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: list[tf.Tensor], training: bool = False) -> tf.Tensor:
        shortcut, residual = inputs
        if not training:
            return shortcut + self.survival_probability * residual
        draw = keras.random.uniform((), seed=self.seed_generator)
        return shortcut + tf.cast(draw < self.survival_probability, residual.dtype) * residual

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "survival_probability": self.survival_probability,
            "seed": self.seed,
        }
