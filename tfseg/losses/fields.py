"""What every loss is computed from: targets, probabilities, and how they are summed.

A loss is a function ``loss(f: Fields, *, option=default, ...) -> (batch,)``. Settings that all
losses share (class weights, ignored voxels, per image or per batch, ...) act here, in the three
reductions below, so that no loss repeats them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.losses.settings import LossSettings


@dataclass(frozen=True, eq=False)
class Fields:
    """One batch as the losses see it. All tensors are float32, or float64 if the logits are.

    Attributes:
        p: (batch, [z,] y, x, k) targets: one-hot, multi-label or soft, 0 where ignored.
        logits: (batch, [z,] y, x, k) network outputs.
        exclusive: a voxel has one class (softmax); otherwise every channel is a yes or no of its
            own (sigmoid).
        valid: (batch, [z,] y, x) 1 where a voxel counts and 0 where it is ignored; ``None``
            where all count.
        weights: (batch, [z,] y, x) the caller's voxel weights, or ``None``.
        image: (batch, [z,] y, x, c) the network's input, or ``None``.
        voxel_map: (batch, [z,] y, x) the map that a loss asked the pipeline for, or ``None``.
        settings: what all losses share.
    """

    p: tf.Tensor
    logits: tf.Tensor
    exclusive: bool
    settings: LossSettings
    valid: tf.Tensor | None = None
    weights: tf.Tensor | None = None
    image: tf.Tensor | None = None
    voxel_map: tf.Tensor | None = None

    @property
    def classes(self) -> int:
        """Number of channels k."""
        return int(self.logits.shape[-1])

    @property
    def rank(self) -> int:
        """Number of spatial axes: 2 or 3 (1 is allowed too)."""
        return len(self.logits.shape) - 2

    @property
    def dtype(self) -> tf.DType:
        """What everything is computed in."""
        return self.logits.dtype

    @functools.cached_property
    def q(self) -> tf.Tensor:
        """Probabilities, as ``logits``."""
        return tf.nn.softmax(self.logits) if self.exclusive else tf.sigmoid(self.logits)

    @functools.cached_property
    def log_q(self) -> tf.Tensor:
        """log q, finite for any finite logits."""
        if self.exclusive:
            return tf.nn.log_softmax(self.logits)
        return -tf.nn.softplus(-self.logits)

    @functools.cached_property
    def log_not_q(self) -> tf.Tensor:
        """log(1 - q), finite for any finite logits."""
        if not self.exclusive:
            return -tf.nn.softplus(self.logits)
        x = self.logits
        if self.classes == 2:
            return tf.reverse(self.log_q, [-1])
        # Subtracting from 1 cancels where q_c is near 1, which only the largest can be: there
        # 1 - q_c is the sum of the others.
        largest = tf.one_hot(tf.argmax(x, -1), self.classes, on_value=True, off_value=False)
        others = tf.where(largest, tf.constant(-float("inf"), self.dtype), x)
        log_others = tf.reduce_logsumexp(others, -1, keepdims=True)
        log_others -= tf.reduce_logsumexp(x, -1, keepdims=True)
        rest = tf.math.log1p(-tf.where(largest, tf.zeros_like(x), self.q))
        return tf.where(largest, log_others, rest)

    def voxel_mean(self, values: tf.Tensor) -> tf.Tensor:
        """Reduce a value a voxel to a value a sample.

        Args:
            values: (batch, [z,] y, x), weighted with the weight of each voxel's own class; or
                (batch, [z,] y, x, k) one a channel, each weighted with its channel's weight,
                then summed over exclusive classes or averaged over independent ones.

        Returns:
            (batch,): the sum over valid voxels, divided by their number unless
            ``voxel_reduction`` is ``sum``. Weights do not enter the divisor.
        """
        per_class = self._class_weights()
        if len(values.shape) == len(self.p.shape):
            if per_class is not None:
                values *= per_class
            total = tf.reduce_sum(values, -1)
            values = total if self.exclusive else total / self.classes
        elif per_class is not None:
            values *= tf.linalg.matvec(self.p, per_class)
        axes = self._voxel_axes()
        counted = self.valid
        if self.weights is not None:
            values *= self.weights
        if counted is not None:
            # Not a product: an ignored voxel's value may be anything.
            values = tf.where(counted > 0, values, tf.zeros_like(values))
        total = tf.reduce_sum(values, axes)
        if self.settings.voxel_reduction == "sum":
            return total
        return total / self._voxel_count(values)

    def class_sums(self, values: tf.Tensor) -> tf.Tensor:
        """Sum over the valid voxels, with the voxel weights: (batch, [z,] y, x, k) -> (batch, k).

        With ``per_image=False`` every row is the sum over the whole global batch, so that each
        sample's loss is that of the batch, on however many devices it lies.
        """
        where = self.weights
        if self.valid is not None:
            where = self.valid if where is None else where * self.valid
        if where is not None:
            values *= where[..., tf.newaxis]
        return self.of_image_or_batch(tf.reduce_sum(values, self._voxel_axes()))

    def class_averages(self, values: tf.Tensor) -> tf.Tensor:
        """Average over voxels class by class: (batch, [z,] y, x, k) -> (batch, k).

        :meth:`class_sums` divided by the number of valid voxels, unless ``voxel_reduction`` is
        ``sum``. Voxel weights do not enter the divisor.
        """
        sums = self.class_sums(values)
        if self.settings.voxel_reduction == "sum":
            return sums
        counts = tf.broadcast_to(self._voxel_count(values[..., 0]), tf.shape(sums)[:1])
        return sums / self.of_image_or_batch(counts)[:, tf.newaxis]

    def of_image_or_batch(self, sums: tf.Tensor) -> tf.Tensor:
        """Return sums of each image, (batch, ...), as they are, or those of the whole global batch.

        The latter with ``per_image=False``; every row is the same then.
        """
        return sums if self.settings.per_image else self._over_batch(sums)

    def class_mean(self, values: tf.Tensor, *, background: bool = False) -> tf.Tensor:
        """Average over classes: (batch, k) -> (batch,).

        Args:
            values: one a class.
            background: whether class 0 counts where the settings do not say.
        """
        first = 0 if self.counts_background(background) else 1
        if first:
            self._check_foreground()
        weights = self.settings.class_weights
        if weights is None:
            return tf.reduce_mean(values[:, first:], -1)
        counted = self._checked_weights(weights)[first:]
        if not any(counted):
            raise ConfigError(
                f"one of the classes that count must have a class weight above 0; got {weights} "
                "without the background. Use include_background=True or other weights."
            )
        used = tf.constant(counted, self.dtype)
        return tf.linalg.matvec(values[:, first:], used / tf.reduce_sum(used))

    def counts_background(self, default: bool) -> bool:
        """Whether class 0 counts, given what the loss does where the settings do not say."""
        chosen = self.settings.include_background
        if not self.exclusive:
            return True  # no channel is the background
        return default if chosen is None else chosen

    def _check_foreground(self) -> None:
        if self.classes < 2:
            raise ConfigError(
                "include_background=False needs at least 2 classes; got 1. Leave it out."
            )

    def _class_weights(self) -> tf.Tensor | None:
        """Return (k,) weights of the voxelwise losses, or ``None`` where all are 1."""
        weights = self.settings.class_weights
        background = self.counts_background(default=True)
        if weights is None and background:
            return None
        values = list(self._checked_weights(weights or (1.0,) * self.classes))
        if not background:
            values[0] = 0.0
        return tf.constant(values, self.dtype)

    def _checked_weights(self, weights: tuple[float, ...]) -> tuple[float, ...]:
        if len(weights) != self.classes:
            raise ConfigError(
                f"class_weights must have one entry a class ({self.classes}, the background "
                f"included); got {len(weights)}."
            )
        return weights

    def _voxel_axes(self) -> list[int]:
        return list(range(1, self.rank + 1))

    def _voxel_count(self, values: tf.Tensor) -> tf.Tensor:
        if self.valid is None:
            return tf.cast(tf.reduce_prod(tf.shape(values)[1:]), self.dtype)
        # A sample that is ignored as a whole costs 0, not 0 / 0.
        return tf.maximum(tf.reduce_sum(self.valid, self._voxel_axes()), 1.0)

    @staticmethod
    def _over_batch(sums: tf.Tensor) -> tf.Tensor:
        total = tf.reduce_sum(sums, 0, keepdims=True)
        if tf.distribute.in_cross_replica_context():
            return tf.broadcast_to(total, tf.shape(sums))
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, total)
        return tf.broadcast_to(total, tf.shape(sums))


def make_fields(
    labels: Any,
    logits: Any,
    settings: LossSettings,
    *,
    multi_label: bool = False,
    weights: Any = None,
    image: Any = None,
    voxel_map: Any = None,
) -> Fields:
    """Bring labels and logits into the form that the losses work on.

    Args:
        labels: (batch, [z,] y, x[, 1]) integers 0..k-1 (0 or 1 where k is 1), in any dtype; or
            (batch, [z,] y, x, k) targets in [0, 1].
        logits: (batch, [z,] y, x, k), any float dtype.
        settings: what all losses share.
        multi_label: channels are independent (sigmoid). One channel always is.
        weights: (batch, [z,] y, x) non-negative voxel weights.
        image: the network's input, for losses that need it.
        voxel_map: (batch, [z,] y, x), for losses that need it.

    Raises:
        ConfigError: shapes that do not fit, or settings that the targets do not allow.
    """
    logits = tf.convert_to_tensor(logits)
    dtype = tf.float64 if logits.dtype == tf.float64 else tf.float32
    logits = tf.cast(logits, dtype)
    labels = tf.convert_to_tensor(labels)
    classes = logits.shape[-1]
    exclusive = not multi_label and classes > 1
    given_as_classes = len(labels.shape) == len(logits.shape) - 1 or (
        labels.shape[-1] == 1 and classes > 1
    )
    valid = None
    if given_as_classes:
        if multi_label and classes > 1:
            raise ConfigError(
                f"multi-label targets must have one channel a class, (batch, ..., {classes}); "
                f"got {tuple(labels.shape)}."
            )
        if len(labels.shape) == len(logits.shape):
            labels = labels[..., 0]
        labels = tf.cast(labels, tf.int32)
        if settings.ignore_index is not None:
            keep = tf.not_equal(labels, settings.ignore_index)
            valid = tf.cast(keep, dtype)
            labels = tf.where(keep, labels, tf.zeros_like(labels))
        if classes == 1:
            p = tf.cast(labels, dtype)[..., tf.newaxis]
        else:
            p = tf.one_hot(labels, classes, dtype=dtype)
        if valid is not None:
            p *= valid[..., tf.newaxis]
    else:
        if settings.ignore_index is not None:
            raise ConfigError(
                "ignore_index needs integer labels, (batch, [z,] y, x); got targets of "
                f"{tuple(labels.shape)}. Give those voxels the weight 0 instead."
            )
        p = tf.cast(labels, dtype)
    if not p.shape.is_compatible_with(logits.shape):
        raise ConfigError(
            f"labels and logits must cover the same voxels and classes; got {tuple(labels.shape)} "
            f"and {tuple(logits.shape)}."
        )
    return Fields(
        p,
        logits,
        exclusive,
        settings,
        valid,
        _cast(weights, dtype),
        _cast(image, dtype),
        _cast(voxel_map, dtype),
    )


def _cast(values: Any, dtype: tf.DType) -> tf.Tensor | None:
    return None if values is None else tf.cast(tf.convert_to_tensor(values), dtype)
