"""Activation functions, and the activation layers that have options or weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.compat.addons.names import of_addons


@of_addons
def gelu(x: tf.Tensor, approximate: bool = True) -> tf.Tensor:
    """Return x P(X <= x) of a standard normal X, by its tanh formula where ``approximate``.

    Hendrycks, Gimpel 2016, arXiv:1606.08415. Keras' own ``gelu`` is exact by default.
    """
    return keras.activations.gelu(x, approximate=approximate)


@of_addons
def hardshrink(x: tf.Tensor, lower: float = -0.5, upper: float = 0.5) -> tf.Tensor:
    """Return 0 where ``lower`` <= x <= ``upper``, else x."""
    return tf.where((x < lower) | (x > upper), x, tf.zeros_like(x))


@of_addons
def lisht(x: tf.Tensor) -> tf.Tensor:
    """Return x tanh(x). Roy et al. 2019, arXiv:1901.05894."""
    return x * tf.tanh(x)


@of_addons
def mish(x: tf.Tensor) -> tf.Tensor:
    """Return x tanh(log(1 + e^x)). Misra 2019, arXiv:1908.08681."""
    return x * tf.tanh(tf.math.softplus(x))


@of_addons
def snake(x: tf.Tensor, frequency: float = 1.0) -> tf.Tensor:
    """Return x + (1 - cos(2 f x)) / (2 f). Ziyin et al. 2020, arXiv:2006.08195."""
    return x + (1 - tf.cos(2 * frequency * x)) / (2 * frequency)


@of_addons
def softshrink(x: tf.Tensor, lower: float = -0.5, upper: float = 0.5) -> tf.Tensor:
    """Return how far x lies outside [``lower``, ``upper``], with its sign; 0 inside."""
    return tf.minimum(x - lower, 0) + tf.maximum(x - upper, 0)


@of_addons
def sparsemax(x: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """Return the nearest point of the simplex along ``axis``.

    Martins, Astudillo 2016, arXiv:1602.02068, algorithm 1. Keras 3.15's own is wrong where more
    than one value stays above zero: it adds up cumulated sums.
    """
    ordered = tf.sort(x, axis=axis, direction="DESCENDING")
    count = tf.cumsum(tf.ones_like(x), axis=axis)
    kept = tf.cast(1 + count * ordered > tf.cumsum(ordered, axis=axis), x.dtype)
    total = tf.reduce_sum(kept * ordered, axis, keepdims=True)
    return tf.nn.relu(x - (total - 1) / tf.reduce_sum(kept, axis, keepdims=True))


@of_addons
def tanhshrink(x: tf.Tensor) -> tf.Tensor:
    """Return x - tanh(x)."""
    return x - tf.tanh(x)


@of_addons
class GELU(keras.layers.Layer):
    """:func:`gelu` as a layer."""

    def __init__(self, approximate: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approximate = approximate

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return gelu(x, self.approximate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "approximate": self.approximate}


@of_addons
class TLU(keras.layers.Layer):
    """Thresholded linear unit max(x, tau), or max(x, alpha x + tau) where ``affine``.

    Each value of a sample has its own tau and alpha, of the shape of one sample: the input's
    sizes must be known. Singh, Krishnan 2019, arXiv:1911.09737.
    """

    def __init__(
        self,
        affine: bool = False,
        tau_initializer: Any = "zeros",
        tau_regularizer: Any = None,
        tau_constraint: Any = None,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.affine = affine
        self.tau_initializer = keras.initializers.get(tau_initializer)
        self.tau_regularizer = keras.regularizers.get(tau_regularizer)
        self.tau_constraint = keras.constraints.get(tau_constraint)
        self.alpha_initializer = keras.initializers.get(alpha_initializer)
        self.alpha_regularizer = keras.regularizers.get(alpha_regularizer)
        self.alpha_constraint = keras.constraints.get(alpha_constraint)

    def build(self, input_shape: Any) -> None:
        shape = tuple(input_shape[1:])
        self.tau = self.add_weight(
            name="tau",
            shape=shape,
            initializer=self.tau_initializer,
            regularizer=self.tau_regularizer,
            constraint=self.tau_constraint,
        )
        if self.affine:
            self.alpha = self.add_weight(
                name="alpha",
                shape=shape,
                initializer=self.alpha_initializer,
                regularizer=self.alpha_regularizer,
                constraint=self.alpha_constraint,
            )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        tau = tf.convert_to_tensor(self.tau)
        return tf.maximum(x, tf.convert_to_tensor(self.alpha) * x + tau if self.affine else tau)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "affine": self.affine}
        names = ("tau", "alpha") if self.affine else ("tau",)
        for name in names:
            config[f"{name}_initializer"] = keras.initializers.serialize(
                getattr(self, f"{name}_initializer")
            )
            config[f"{name}_regularizer"] = keras.regularizers.serialize(
                getattr(self, f"{name}_regularizer")
            )
            config[f"{name}_constraint"] = keras.constraints.serialize(
                getattr(self, f"{name}_constraint")
            )
        return config
