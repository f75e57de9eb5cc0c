"""Losses that join an overlap with a cross-entropy, and sums over training outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import tensorflow as tf
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.losses.fields import Fields
from tfseg.losses.overlap import NotNegative, Positive, confusion, power, share

Portion = Annotated[float, Field(ge=0, le=1)]
Frequencies = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=255)]


def combo(
    f: Fields,
    *,
    alpha: Portion = 0.5,
    beta: Portion = 0.5,
    smooth: NotNegative = 1.0,
    class_sum: bool = False,
    dice_as_loss: bool = False,
) -> tf.Tensor:
    """Return a W - (1-a) D averaged over classes, (batch,) >= -(1-a).

    W = -1/N sum(b p log q + (1-b) (1-p) log(1-q)), D = (2 <p,q> + s) / (|p| + |q| + s).
    Taghanaki et al. 2018, arXiv:1805.02798. Both are of one class against the rest; N counts
    voxels with their weights, over the image or the batch as for the overlap.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
        alpha: a, the share of the cross-entropy.
        beta: b, above 1/2 misses cost more, below 1/2 false finds do.
        smooth: s in voxels.
        class_sum: D is summed over the classes that count, as in the paper, not averaged.
        dice_as_loss: add (1-a), for every class that is summed, so that the loss is >= 0.
    """
    entropy = -(beta * f.p * f.log_q + (1 - beta) * (1 - f.p) * f.log_not_q)
    voxels = f.class_sums(tf.ones_like(f.p))
    weighted = f.class_mean(tf.math.divide_no_nan(f.class_sums(entropy), voxels))
    both, missed, extra = confusion(f)
    overlap_loss = f.class_mean(share(missed + extra, 2 * both, smooth))
    overlap = overlap_loss if dice_as_loss else overlap_loss - 1
    if class_sum:
        overlap *= f.classes if f.counts_background(False) else f.classes - 1
    return alpha * weighted + (1 - alpha) * overlap


def exp_log(
    f: Fields,
    *,
    dice_weight: NotNegative = 0.8,
    ce_weight: NotNegative = 0.2,
    gamma_dice: Positive = 0.3,
    gamma_ce: Positive = 0.3,
    smooth: Positive = 1.0,
    frequencies: Frequencies | None = None,
) -> tf.Tensor:
    """Return w_D mean_c (-log D_c)^g_D + w_C mean_x v_l (-log q_l)^g_C, (batch,) >= 0.

    D_c = (2 <p,q> + s) / (|p| + |q| + s); l is the class of voxel x and v_l = sqrt(sum_c f_c / f_l)
    of the classes' frequencies. Wong et al. 2018, arXiv:1809.00076. With exponents below 1 the
    slope is infinite where D or q is 1: there (-log below 1e-6) it is replaced by a finite one.

    Args:
        f: targets and probabilities; class 0 counts unless the settings say otherwise. An
            independent channel is a matter of two classes, itself and its rest.
        dice_weight: w_D.
        ce_weight: w_C.
        gamma_dice: g_D.
        gamma_ce: g_C.
        smooth: s in voxels; above 0, or a class missed as a whole costs infinitely much.
        frequencies: f, one a class in any unit, e.g. of the training set; of independent channels
            the share of voxels, below 1. Left out, those of each sample, where a class that is
            absent has no voxel to weigh.

    Raises:
        ConfigError: not one frequency a class, or a share of 1 or more.
    """
    both, missed, extra = confusion(f)
    wrong = missed + extra
    overlap = _log_dice(wrong, both, smooth, gamma_dice)
    present, absent = _frequencies(f, frequencies)
    every = present + absent
    entropy = f.p * _balance(f, every, present) * power(-f.log_q, gamma_ce)
    if f.exclusive:
        dice_term = f.class_mean(overlap, background=True)
    else:
        rest = f.class_sums((1 - f.p) * (1 - f.q))
        dice_term = f.class_mean((overlap + _log_dice(wrong, rest, smooth, gamma_dice)) / 2)
        weights = _balance(f, every, absent)
        entropy += (1 - f.p) * weights * power(-f.log_not_q, gamma_ce)
    return dice_weight * dice_term + ce_weight * f.voxel_mean(entropy)


def deep_supervision_sum(values: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    """Return the weighted mean of a loss's values at several outputs, of the values' shape.

    Lee et al. 2015, arXiv:1409.5185.

    Args:
        values: one tensor an output, all of one shape.
        weights: one a value, not all 0; scaled to sum 1.

    Raises:
        ConfigError: not one weight a value, or weights that sum to 0.
    """
    if len(weights) != len(values) or not values:
        raise ConfigError(
            f"deep supervision needs one weight an output; got {len(weights)} weights for "
            f"{len(values)} outputs."
        )
    total = sum(weights)
    if min(weights) < 0 or total <= 0:
        raise ConfigError(
            f"weights of deep supervision must be 0 or more, and one above 0; got {list(weights)}."
        )
    return tf.add_n(
        [value * (weight / total) for value, weight in zip(values, weights, strict=True)]
    )


def _log_dice(wrong: tf.Tensor, both: tf.Tensor, smooth: float, gamma: float) -> tf.Tensor:
    """Return (-log D)^gamma, (batch, k).

    -log D = log(1 + wrong / (2 both + s)), which is exact near D = 1 and near 0.
    """
    return power(tf.math.log1p(wrong / (2 * both + smooth)), gamma)


def _frequencies(f: Fields, given: tuple[float, ...] | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the frequencies of each class and of all others, (batch or 1, k)."""
    if given is None:
        present = f.class_sums(f.p)
        if f.exclusive:
            return present, tf.reduce_sum(present, -1, keepdims=True) - present
        return present, f.class_sums(1 - f.p)
    if len(given) != f.classes:
        raise ConfigError(
            f"frequencies must have one entry a class ({f.classes}, the background included); got "
            f"{len(given)}."
        )
    if not f.exclusive and max(given) >= 1:
        raise ConfigError(
            "frequencies of independent channels are shares of the voxels, below 1; got "
            f"{max(given):g}."
        )
    present = tf.constant([given], f.dtype)
    total = sum(given) if f.exclusive else 1
    return present, total - present


def _balance(f: Fields, every: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Return sqrt(every / part), 0 for empty parts: (batch or 1, k) -> with voxel axes of 1."""
    weights = tf.sqrt(tf.math.divide_no_nan(every, part))
    shape = [tf.shape(weights)[0], *[1] * f.rank, f.classes]
    return tf.reshape(weights, shape)
