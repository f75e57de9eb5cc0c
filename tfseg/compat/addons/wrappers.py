"""Wrappers that reparametrise the kernel of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfseg.compat.addons.names import of_addons
from tfseg.errors import ConfigError

_VARIANCE_FLOOR = 1e-10


@of_addons
class SpectralNormalization(keras.layers.SpectralNormalization):
    """Divide the kernel by its largest singular value, in training; Keras took the layer over.

    Miyato et al. 2018, arXiv:1802.05957.
    """


@of_addons
class WeightNormalization(keras.layers.Wrapper):
    """Give a layer the kernel g v / ||v||: length and direction are learned apart.

    The wrapped layer's own kernel is v; g is one number for each entry of its last axis. The
    first call sets g to ||v||, or, with ``data_init``, g to 1 / s and the bias to -m / s, where
    m and s are mean and deviation of each output over that call's data, before the activation.
    Salimans, Kingma 2016, arXiv:1602.07868. As in Addons, m and s are those of v and not of
    v / ||v||, so outputs start with mean 0 and variance 1 only where ||v|| is 1.

    Args:
        layer: a layer with a ``kernel``.
        data_init: look at the first data.
        **kwargs: those of any layer.

    Raises:
        ConfigError: the layer has no kernel.
    """

    def __init__(self, layer: keras.layers.Layer, data_init: bool = True, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.data_init = data_init

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        if not isinstance(kernel, keras.Variable):
            raise ConfigError(
                "WeightNormalization: the layer must have a kernel, as Dense and Conv2D have; "
                f"got {type(self.layer).__name__}."
            )
        self.g = self.add_weight(
            name="g", shape=(kernel.shape[-1],), initializer="ones", autocast=False
        )
        self.initialized = self.add_weight(
            name="initialized", shape=(), initializer="zeros", dtype="bool", trainable=False
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        g = tf.convert_to_tensor(self.g)
        with tf.init_scope():
            ready = bool(self.initialized.numpy())
        if not ready:
            # Only then, so that graphs made of a trained layer assign nothing.
            started = tf.convert_to_tensor(self.initialized)
            g = tf.cond(started, lambda: g, lambda: self._start(inputs))
        v = self._direction()
        kernel = tf.math.l2_normalize(v, axis=list(range(len(v.shape) - 1))) * g
        with keras.StatelessScope(state_mapping=[(self.layer.kernel, kernel)]):
            return self.layer(inputs)

    def _direction(self) -> tf.Tensor:
        """Return v in float32."""
        return tf.cast(tf.convert_to_tensor(self.layer.kernel), tf.float32)

    def _start(self, inputs: tf.Tensor) -> tf.Tensor:
        """Set g, and with ``data_init`` the bias; return g."""
        if self.data_init:
            bias = getattr(self.layer, "bias", None)
            state = [] if bias is None else [(bias, tf.zeros(bias.shape))]
            with _linear(self.layer), keras.StatelessScope(state_mapping=state):
                outputs = tf.cast(self.layer(inputs), tf.float32)
            mean, variance = tf.nn.moments(outputs, list(range(len(outputs.shape) - 1)))
            g = tf.math.rsqrt(variance + _VARIANCE_FLOOR)
            if bias is not None:
                bias.assign(-mean * g)
        else:
            v = self._direction()
            g = tf.norm(tf.reshape(v, [-1, v.shape[-1]]), axis=0)
        self.g.assign(g)
        self.initialized.assign(True)
        return g

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_init": self.data_init}


@contextmanager
def _linear(layer: keras.layers.Layer) -> Iterator[None]:
    """Take the activation off a layer, for a moment."""
    activation = getattr(layer, "activation", None)
    if activation is None:
        yield
        return
    layer.activation = keras.activations.linear
    try:
        yield
    finally:
        layer.activation = activation
