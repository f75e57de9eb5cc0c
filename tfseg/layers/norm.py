"""Normalisation layers."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfseg.errors import ConfigError

_GROUPS = 8
_FUSED_SAMPLES = 16  # each is an operator of its own: hundreds would take minutes to trace


@keras.saving.register_keras_serializable("tfseg")
class InstanceNormalization(keras.layers.Layer):
    """Instance normalisation: each sample and channel to mean 0 and variance 1, then affine.

    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022. Statistics and result are computed in
    float32 whatever the policy; the result has the input's dtype.

    With a known batch size of up to 16 each sample goes through TensorFlow's fused batch
    normalisation, which is exact here (one sample is its own batch) and the cheapest form on CPU
    and GPU in training; otherwise the moments are written out, which every exporter can read.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(
            name="gamma", shape=channels, initializer="ones", dtype="float32", autocast=False
        )
        self.beta = self.add_weight(
            name="beta", shape=channels, initializer="zeros", dtype="float32", autocast=False
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if None not in x.shape and x.shape[0] <= _FUSED_SAMPLES:
            samples = [self._fused(sample, gamma, beta) for sample in tf.unstack(x)]
            return tf.stack(samples)
        axes = list(range(1, len(x.shape) - 1))
        wide = tf.cast(x, tf.float32)
        mean, variance = tf.nn.moments(wide, axes, keepdims=True)
        scale = tf.math.rsqrt(variance + self.epsilon) * gamma
        return tf.cast((wide - mean) * scale + beta, x.dtype)

    def _fused(self, sample: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        *front, width, channels = sample.shape
        rows = 1
        for size in front:
            rows *= size
        image = tf.reshape(sample, (1, rows, width, channels))
        normed = tf.raw_ops.FusedBatchNormV3(
            x=image,
            scale=gamma,
            offset=beta,
            mean=tf.zeros((0,), tf.float32),
            variance=tf.zeros((0,), tf.float32),
            epsilon=self.epsilon,
            is_training=True,
        ).y
        return tf.reshape(normed, sample.shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def normalise(x: Any, *, kind: str, name: str) -> Any:
    """Apply the normalisation ``kind``: ``instance``, ``batch``, ``group`` or ``none``.

    ``group`` has 8 groups, or the largest number of them that divides the channels (Wu, He 2018,
    arXiv:1803.08494).

    Raises:
        ConfigError: another kind.
    """
    if kind == "instance":
        return InstanceNormalization(name=name)(x)
    if kind == "batch":
        # float32 under mixed precision: statistics of large maps overflow float16.
        return keras.layers.BatchNormalization(epsilon=1e-5, dtype="float32", name=name)(x)
    if kind == "group":
        groups = math.gcd(_GROUPS, x.shape[-1])
        return keras.layers.GroupNormalization(groups, epsilon=1e-5, dtype="float32", name=name)(x)
    if kind == "none":
        return x
    raise ConfigError(f"norm must be instance, batch, group or none; got {kind!r}.")
