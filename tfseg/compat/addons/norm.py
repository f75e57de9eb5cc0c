"""Normalisation by group, by instance and by filter response."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.compat.addons.names import of_addons
from tfseg.layers import InstanceNormalization as _InstanceNormalization


@of_addons
class GroupNormalization(keras.layers.GroupNormalization):
    """Group normalisation; Keras took the layer over with its arguments and its numbers.

    Wu, He 2018, arXiv:1803.08494.
    """


class _Affine:
    """The settings that scale and shift share: initialisers, regularisers, constraints."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.parts = {
            part: (
                keras.initializers.get(settings.pop(f"{part}_initializer", default)),
                keras.regularizers.get(settings.pop(f"{part}_regularizer", None)),
                keras.constraints.get(settings.pop(f"{part}_constraint", None)),
            )
            for part, default in (("beta", "zeros"), ("gamma", "ones"))
        }

    def weight(self, layer: keras.layers.Layer, part: str, shape: tuple[int, ...]) -> Any:
        initializer, regularizer, constraint = self.parts[part]
        return layer.add_weight(
            name=part,
            shape=shape,
            initializer=initializer,
            regularizer=regularizer,
            constraint=constraint,
            dtype="float32",
            autocast=False,
        )

    def config(self) -> dict[str, Any]:
        return {
            key: value
            for part, (initializer, regularizer, constraint) in self.parts.items()
            for key, value in (
                (f"{part}_initializer", keras.initializers.serialize(initializer)),
                (f"{part}_regularizer", keras.regularizers.serialize(regularizer)),
                (f"{part}_constraint", keras.constraints.serialize(constraint)),
            )
        }


@of_addons
class InstanceNormalization(_InstanceNormalization):
    """:class:`tfseg.layers.InstanceNormalization` with the options of Addons.

    Args:
        axis: of the channels.
        epsilon: added to the variance.
        center: add a learned shift.
        scale: multiply by a learned factor.
        **kwargs: ``beta_`` and ``gamma_`` with ``initializer``, ``regularizer``,
            ``constraint``; and those of any layer.
    """

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        self._affine = _Affine(kwargs)
        super().__init__(epsilon=epsilon, **kwargs)
        self.axis = axis
        self.center = center
        self.scale = scale

    def build(self, input_shape: Any) -> None:
        channels = (input_shape[self.axis],)
        self.gamma = (
            self._affine.weight(self, "gamma", channels)
            if self.scale
            else np.ones(channels, np.float32)
        )
        self.beta = (
            self._affine.weight(self, "beta", channels)
            if self.center
            else np.zeros(channels, np.float32)
        )

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        rank = len(x.shape)
        axis = self.axis % rank
        if axis == rank - 1:
            return super().call(x, training)
        others = [i for i in range(rank) if i != axis]
        last = [*others, axis]
        return tf.transpose(super().call(tf.transpose(x, last), training), np.argsort(last))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "center": self.center,
            "scale": self.scale,
            **self._affine.config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InstanceNormalization:
        # Addons stores the number of channels as groups; the layer finds it in its input.
        return cls(**{key: value for key, value in config.items() if key != "groups"})


@of_addons
class FilterResponseNormalization(keras.layers.Layer):
    """gamma x / sqrt(mean(x^2) + |epsilon|) + beta, with the mean over ``axis``, in float32.

    Singh, Krishnan 2019, arXiv:1911.09737.

    Args:
        epsilon: keeps the root from zero.
        axis: spatial axes: 1 and 2 of (batch, y, x, c), 1 to 3 of (batch, z, y, x, c).
        learned_epsilon: add the absolute value of a learned number to ``epsilon``.
        learned_epsilon_constraint: on that number.
        **kwargs: ``beta_`` and ``gamma_`` with ``initializer``, ``regularizer``,
            ``constraint``; and those of any layer.
    """

    def __init__(
        self,
        epsilon: float = 1e-6,
        axis: tuple[int, ...] = (1, 2),
        learned_epsilon: bool = False,
        learned_epsilon_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        self._affine = _Affine(kwargs)
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.axis = list(axis)
        self.learned_epsilon = learned_epsilon
        self.learned_epsilon_constraint = keras.constraints.get(learned_epsilon_constraint)

    def build(self, input_shape: Any) -> None:
        if self.learned_epsilon:
            self.added_epsilon = self.add_weight(
                name="learned_epsilon",
                shape=(1,),
                initializer=keras.initializers.Constant(1e-4),
                constraint=self.learned_epsilon_constraint,
                dtype="float32",
                autocast=False,
            )
        shape = (*(1 for _ in input_shape[1:]), input_shape[-1])
        self.gamma = self._affine.weight(self, "gamma", shape)
        self.beta = self._affine.weight(self, "beta", shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        wide = tf.cast(x, tf.float32)
        epsilon: Any = self.epsilon
        if self.learned_epsilon:
            epsilon += tf.abs(tf.convert_to_tensor(self.added_epsilon))
        power = tf.reduce_mean(tf.square(wide), self.axis, keepdims=True)
        scale = tf.convert_to_tensor(self.gamma) * tf.math.rsqrt(power + epsilon)
        return tf.cast(wide * scale + tf.convert_to_tensor(self.beta), x.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "axis": self.axis,
            "learned_epsilon": self.learned_epsilon,
            "learned_epsilon_constraint": keras.constraints.serialize(
                self.learned_epsilon_constraint
            ),
            **self._affine.config(),
        }
