"""Cross-entropies whose class weights follow from how frequent the classes are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import tensorflow as tf
from pydantic import Field

from tfseg.losses.cross_entropy import log_loss, one_a_class
from tfseg.losses.fields import Fields

Share = Annotated[float, Field(gt=0, le=1)]
Shares = Annotated[tuple[Share, ...], Field(min_length=1, max_length=255)]
# Frequencies (..., n), the background first and 0 where a class is absent -> weights (..., n).
Rule = Callable[[tf.Tensor], tf.Tensor]


def balanced_ce(
    f: Fields,
    *,
    beta: Annotated[float, Field(ge=0, le=1)] | None = None,
    clamp: Annotated[float, Field(ge=0, le=0.5)] = 0.0,
) -> tf.Tensor:
    """Return the mean over voxels of -(beta p log q + (1-beta) (1-p) log(1-q)), (batch,).

    Over more than two exclusive classes every class has beta, and the background 1 - beta; or,
    with beta left out, each class the share of the voxels that are not its own. Xie & Tu 2015,
    arXiv:1504.06375.

    Args:
        f: targets and probabilities.
        beta: weight of the foreground; left out, the share |Y-| / |Y| of the voxels that are
            background, in each image or, with ``per_image=False``, in the batch.
        clamp: keeps the weights that are taken from the labels in [clamp, 1 - clamp]. With 0 an
            image without foreground, or without anything else, costs nothing whatever is
            predicted.
    """
    if beta is None:
        weights = frequency_weights(f, lambda share: tf.clip_by_value(1 - share, clamp, 1 - clamp))
    elif f.exclusive:
        weights = tf.constant([1 - beta] + [beta] * (f.classes - 1), f.dtype), 0.0
    else:
        weights = beta, 1 - beta
    return f.voxel_mean(log_loss(f, *weights))


def median_freq_ce(f: Fields, *, frequencies: Shares | None = None) -> tf.Tensor:
    """Return the cross-entropy with class weights median(freq) / freq(c), (batch,).

    freq(c) is the number of voxels of c over the number of voxels of the images that have any of
    c. The median is over the classes that occur. Badrinarayanan et al. 2015, arXiv:1511.00561,
    who take the frequencies from the training set.

    Args:
        f: targets and probabilities. An independent channel is two classes: it, and not it.
        frequencies: those of the training set, one a class; left out, those of each image or,
            with ``per_image=False``, of the batch.
    """
    return f.voxel_mean(log_loss(f, *frequency_weights(f, _median_over, frequencies, _within)))


def dynamic_class_ce(
    f: Fields,
    *,
    frequencies: Shares | None = None,
    background_limit: Share = 1.0,
) -> tf.Tensor:
    """Return the cross-entropy with class weights min(freq) / freq(c): 1 for the rarest, (batch,).

    Taha et al. 2018 (Kid-Net), arXiv:1806.06769, follow the sizes by a running average over the
    training steps. A loss here keeps nothing between steps, so that a resumed or replicated run
    is the same run: the average is over each image or, with ``per_image=False``, over the batch.
    Patches then differ in weight by the classes that they happen to have; ``frequencies`` of the
    training set keep it the same for all.

    Args:
        f: targets and probabilities. An independent channel is two classes: it, and not it.
        frequencies: shares of the voxels, one a class, to use instead: those that a running
            average would tend to.
        background_limit: the background's weight is at most this.
    """

    def rule(share: tf.Tensor) -> tf.Tensor:
        rarest = tf.reduce_min(_absent_is_infinite(share), -1, keepdims=True)
        weights = _divide_where_present(rarest, share)
        limited = tf.minimum(weights[..., :1], tf.cast(background_limit, f.dtype))
        return tf.concat([limited, weights[..., 1:]], -1)

    return f.voxel_mean(log_loss(f, *frequency_weights(f, rule, frequencies)))


def frequency_weights(
    f: Fields,
    rule: Rule,
    given: tuple[float, ...] | None = None,
    measure: Callable[[Fields, tf.Tensor], tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor | float]:
    """Return the weights of yes and no for :func:`log_loss`, each (batch or 1, 1, ..., 1, k).

    Args:
        f: targets.
        rule: from frequencies to weights, over exclusive classes or over [not it, it].
        given: frequencies of the classes, not to be measured.
        measure: how often a membership (batch, [z,] y, x, k) is 1, (batch, k); the share of the
            voxels if left out.
    """
    if given is not None:
        yes = one_a_class(f, "frequencies", given)[tf.newaxis]
        no = 1 - yes
    else:
        measure = measure or _share
        yes = measure(f, f.p)
        no = None if f.exclusive else measure(f, 1 - f.p)
    shape = [-1, *([1] * f.rank), f.classes]
    if f.exclusive:
        return tf.reshape(rule(yes), shape), 0.0
    both = rule(tf.stack([no, yes], -1))  # (batch, k, 2)
    return tf.reshape(both[..., 1], shape), tf.reshape(both[..., 0], shape)


def inverse_frequency(share: tf.Tensor) -> tf.Tensor:
    """Return 1 / (n freq(c)) over the n classes that occur: the voxels' mean weight is 1."""
    count = tf.reduce_sum(tf.cast(share > 0, share.dtype), -1, keepdims=True)
    return tf.math.divide_no_nan(tf.ones_like(share), count * share)


def _share(f: Fields, member: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(f.class_sums(member), f.class_sums(tf.ones_like(member)))


def _within(f: Fields, member: tf.Tensor) -> tf.Tensor:
    """Return the share in the images that have any."""
    known = member if f.valid is None else member * f.valid[..., tf.newaxis]
    any_of_it = tf.reduce_max(known, list(range(1, f.rank + 1)), keepdims=True) > 0
    voxels = tf.cast(any_of_it, f.dtype) * tf.ones_like(member)
    return tf.math.divide_no_nan(f.class_sums(member), f.class_sums(voxels))


def _median_over(share: tf.Tensor) -> tf.Tensor:
    """Return median / share, the median over what is present."""
    ordered = tf.sort(_absent_is_infinite(share))
    last = tf.maximum(tf.reduce_sum(tf.cast(share > 0, tf.int32), -1, keepdims=True) - 1, 0)
    middle = tf.concat([last // 2, (last + 1) // 2], -1)
    pair = tf.gather(ordered, middle, axis=-1, batch_dims=len(share.shape) - 1)
    return _divide_where_present(tf.reduce_mean(pair, -1, keepdims=True), share)


def _absent_is_infinite(share: tf.Tensor) -> tf.Tensor:
    return tf.where(share > 0, share, tf.constant(float("inf"), share.dtype))


def _divide_where_present(above: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Return above / share, and 0 for a class that no voxel has."""
    return tf.where(share > 0, tf.math.divide_no_nan(above, share), tf.zeros_like(share))
