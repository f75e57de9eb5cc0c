"""Normalisation layers."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfseg.errors import ConfigError

_GROUPS = 8
_FUSED_SAMPLES = 16  # each is an operator of its own: hundreds would take minutes to trace
_EPSILON = 1e-5


@keras.saving.register_keras_serializable("tfseg")
class InstanceNormalization(keras.layers.Layer):
    """Instance normalisation: each sample and channel to mean 0 and variance 1, then affine.

    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022; see :func:`instance_norm`, and
    :func:`instance_norm_in_training`.
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

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        function = instance_norm_in_training if training else instance_norm
        return function(x, gamma, beta, self.epsilon)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def instance_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Return (x - mean) / sqrt(variance + epsilon) * gamma + beta, with x's shape and type.

    The moments are those of one sample's channel. They and the result are computed in float32
    whatever x is.

    Args:
        x: (n, [z,] y, x, c) of any floating type; all sizes but c may be unknown.
        gamma: float32 (c,).
        beta: float32 (c,).
        epsilon: added to the variance.
    """
    wide = tf.cast(x, tf.float32)
    mean = _spatial_mean(wide)  # (n, c)
    squares = tf.math.squared_difference(wide, _like(wide, mean))
    scale = gamma * tf.math.rsqrt(_spatial_mean(squares) + epsilon)
    # TensorFlow's operator passes no gradient to its mean; it goes by the offset instead, to
    # which the difference adds nothing.
    fixed = tf.stop_gradient(mean)
    return tf.cast(_affine(wide, fixed, scale, beta + (fixed - mean) * scale), x.dtype)


def instance_norm_in_training(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """Return about what :func:`instance_norm` does, in a third of its time with the gradient.

    TensorFlow's batch normalisation has one operator for each way and keeps nothing but x, but
    it sums voxels one by one: the variance of 64^3 voxels is 4e-5 off, that of 128^3 1.4e-3.
    """
    wide, channels = tf.cast(x, tf.float32), x.shape[-1]
    if _few(x.shape[0]):
        samples = [
            _batch_norm(tf.reshape(sample, (-1, channels)), gamma, beta, epsilon)
            for sample in tf.unstack(wide)
        ]
        y = tf.stack(samples)
    else:
        # All samples in one operator: sample and channel together are its channels.
        count = tf.shape(x)[0]
        together = tf.transpose(tf.reshape(wide, (count, -1, channels)), (1, 0, 2))
        gammas, betas = (tf.tile(each, [count]) for each in (gamma, beta))
        flat = tf.reshape(together, (-1, count * channels))
        y = tf.reshape(_batch_norm(flat, gammas, betas, epsilon), tf.shape(together))
        y = tf.transpose(y, (1, 0, 2))
    return tf.ensure_shape(tf.cast(tf.reshape(y, tf.shape(x)), x.dtype), x.shape)


def _few(samples: int | None) -> bool:
    return samples is not None and samples <= _FUSED_SAMPLES


def _batch_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalise the columns of x (voxels, c)."""
    nothing = tf.zeros((0,), tf.float32)  # the moments are the batch's
    normed = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, (1, -1, 1, tf.shape(x)[1])),
        scale=gamma,
        offset=beta,
        mean=nothing,
        variance=nothing,
        epsilon=epsilon,
        is_training=True,
    )
    return tf.reshape(normed.y, tf.shape(x))


def _spatial_mean(x: tf.Tensor) -> tf.Tensor:
    """Return the means (n, c) over the voxels of x (n, [z,] y, x, c).

    One axis after the other: float32 keeps its digits in sums of some hundred numbers. TensorFlow
    sums the voxels of all axes one by one; of a million, the variance is then 5e-4 off.
    """
    while len(x.shape) > 2:
        x = tf.reduce_mean(x, -2)
    return x


def _affine(x: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Return (x - mean) * scale + offset for x float32 (n, [z,] y, x, c), the others (n, c).

    With a known number of samples up to 16, each goes through TensorFlow's batch normalisation
    with given moments, which passes over memory once; written out it is three times.
    """
    count, channels = mean.shape
    if not _few(count):
        return (x - _like(x, mean)) * _like(x, scale) + _like(x, offset)
    sizes = tf.shape(x)[1:]
    samples = []
    for values, *coefficients in zip(
        *(tf.unstack(each, count) for each in (x, mean, scale, offset)), strict=True
    ):
        image = tf.reshape(values, (1, -1, 1, channels))
        samples.append(tf.reshape(_affine_of_image(image, *coefficients), sizes))
    return tf.ensure_shape(tf.stack(samples), x.shape)


def _affine_of_image(
    image: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
) -> tf.Tensor:
    """Return (image - mean) * scale + offset for an image (1, y, x, c), the others (c,)."""
    return tf.raw_ops.FusedBatchNormV3(
        x=image,
        scale=scale,
        offset=offset,
        mean=mean,
        variance=tf.fill(tf.shape(mean), 1 - _EPSILON),
        epsilon=_EPSILON,  # not 0, which GPUs may refuse
        is_training=False,
    ).y


def _like(x: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Return values (n, c) as (n, 1, ..., 1, c), of the rank of ``x``."""
    for _ in range(len(x.shape) - 2):
        values = values[:, tf.newaxis]
    return values


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
