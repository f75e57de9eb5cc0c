"""Normalisation layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfseg.errors import ConfigError

_GROUPS = 8
_FUSED_SAMPLES = 16  # each is an operator of its own: hundreds would take minutes to trace
_EPSILON = 1e-5
_ONCE = "instance normalisation can be differentiated once, not twice"


@keras.saving.register_keras_serializable("tfseg")
class InstanceNormalization(keras.layers.Layer):
    """Instance normalisation: each sample and channel to mean 0 and variance 1, then affine.

    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022; see :func:`instance_norm`. In training up
    to 16 samples take a third of its time, for a variance that is 4e-5 off for 64^3 voxels, 1.4e-3
    for 128^3: TensorFlow's batch normalisation sums voxels one by one.
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
        if training and _few(x.shape[0]):
            return _batch_norm_of_each(x, gamma, beta, self.epsilon)
        return instance_norm(x, gamma, beta, self.epsilon)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


def instance_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Return (x - mean) / sqrt(variance + epsilon) * gamma + beta, with x's shape and type.

    The moments are those of one sample's channel. They and the result are computed in float32
    whatever x is.

    The gradient is written out: the operators' own would keep three more tensors of x's size and
    take twice the time. It has no gradient itself; asking for one raises LookupError.

    Args:
        x: (n, [z,] y, x, c) of any floating type; all sizes but c may be unknown.
        gamma: float32 (c,).
        beta: float32 (c,).
        epsilon: added to the variance.
    """

    def normalised(
        x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        wide = tf.cast(x, tf.float32)
        mean = _spatial_mean(wide)  # (n, c)
        squares = tf.math.squared_difference(wide, _like(wide, mean))
        inverse = tf.math.rsqrt(_spatial_mean(squares) + epsilon)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # dx = gain * (dy - <dy> - z * <dy * z>), where z is x with mean 0 and variance 1,
            # and <.> the mean over the voxels of a sample.
            wide, dy = tf.cast(x, tf.float32), tf.cast(upstream, tf.float32)
            z = _affine(wide, mean, inverse, tf.zeros_like(mean))
            dy_mean, dy_z_mean = _spatial_mean(dy), _spatial_mean(dy * z)
            gain = gamma * inverse
            along = _affine(wide, mean, -gain * dy_z_mean * inverse, -gain * dy_mean)
            dx = _affine(dy, tf.zeros_like(mean), gain, tf.zeros_like(mean)) + along
            voxels = tf.cast(tf.reduce_prod(tf.shape(x)[1:-1]), tf.float32)
            d_gamma, d_beta = (voxels * tf.reduce_sum(m, 0) for m in (dy_z_mean, dy_mean))
            return tuple(
                tf.raw_ops.PreventGradient(input=each, message=_ONCE)
                for each in (tf.cast(dx, x.dtype), d_gamma, d_beta)
            )

        offset = tf.zeros_like(mean) + beta
        return tf.cast(_affine(wide, mean, gamma * inverse, offset), x.dtype), gradient

    return tf.custom_gradient(normalised)(x, gamma, beta)


def _few(samples: int | None) -> bool:
    return samples is not None and samples <= _FUSED_SAMPLES


def _batch_norm_of_each(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """Normalise each sample of x (n, [z,] y, x, c) as a batch of its own; gamma, beta (c,)."""
    sizes, channels = tf.shape(x)[1:], x.shape[-1]
    nothing = tf.zeros((0,), tf.float32)
    samples = [
        tf.reshape(
            tf.raw_ops.FusedBatchNormV3(
                x=tf.reshape(tf.cast(sample, tf.float32), (1, -1, 1, channels)),
                scale=gamma,
                offset=beta,
                mean=nothing,
                variance=nothing,
                epsilon=epsilon,
                is_training=True,
            ).y,
            sizes,
        )
        for sample in tf.unstack(x)
    ]
    return tf.ensure_shape(tf.cast(tf.stack(samples), x.dtype), x.shape)


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
