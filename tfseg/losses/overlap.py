"""Losses that are one minus an overlap metric.

All are of the form wrong / (wrong + right + s), which equals 1 - (right + s) / (right + wrong + s):
sums of terms that are never negative, so no loss falls below 0 by rounding. Where a class has
nothing to find and nothing found, the loss is 0, with smoothing s and without.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import tensorflow as tf
from pydantic import BeforeValidator, Field

from tfseg.losses.fields import Fields

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


def _refuse_plain_norm(form: Any) -> Any:
    if form == "l2":
        raise ValueError(
            "the norms of an L2 Dice must be squared, or the loss falls below 0: use 'squared'"
        )
    return form


DiceForm = Annotated[Literal["l1", "squared"], BeforeValidator(_refuse_plain_norm)]


def dice(f: Fields, *, smooth: NotNegative = 1.0, form: DiceForm = "l1") -> tf.Tensor:
    """Return 1 - the mean over classes of (2 <p,q> + s) / (|p| + |q| + s), (batch,) in [0, 1].

    ``l1``: |.| is the sum over voxels; Drozdzal et al. 2016, arXiv:1608.04117. ``squared``: the sum
    of the squares, as in V-Net; Milletari et al. 2016, arXiv:1606.04797. Both are equal for hard
    predictions.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
        smooth: s in voxels.
        form: the norm of p and q.
    """
    if form == "squared":
        wrong = f.class_sums(tf.math.squared_difference(f.p, f.q))
        both = f.class_sums(f.p * f.q)
    else:
        both, missed, extra = confusion(f)
        wrong = missed + extra
    return f.class_mean(share(wrong, 2 * both, smooth))


def iou(f: Fields, *, smooth: NotNegative = 1.0) -> tf.Tensor:
    """Return 1 - the mean over classes of (<p,q> + s) / (|p| + |q| - <p,q> + s), (batch,).

    In [0, 1]. The soft Jaccard index: Rahman & Wang 2016, doi:10.1007/978-3-319-50835-1_22. With
    s = 0 it is 2 d / (1 + d) of the Dice loss d.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
        smooth: s in voxels.
    """
    both, missed, extra = confusion(f)
    return f.class_mean(share(missed + extra, both, smooth))


def tversky(
    f: Fields,
    *,
    alpha: Positive = 0.3,
    beta: Positive = 0.7,
    smooth: NotNegative = 1.0,
    seed_literal: bool = False,
) -> tf.Tensor:
    """Return 1 - the mean over classes of T = (<p,q> + s) / (<p,q> + a FP + b FN + s), (batch,).

    In [0, 1]; FP = <1-p,q>, FN = <p,1-q>. Salehi et al. 2017, arXiv:1706.05721. a = b = 1/2 is
    the Dice loss, of twice the smoothing, and a = b = 1 the IoU loss.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
        alpha: a, the price of a false positive.
        beta: b, the price of a false negative.
        smooth: s in voxels.
        seed_literal: as printed in the survey: T itself, not 1 - T, with b on the false
            positives and a, which is 1 - b there, on the false negatives. It grows with the
            overlap, so training with it teaches the opposite; it is here to be compared with.
    """
    if seed_literal:
        return 1 - f.class_mean(_tversky_by_class(f, beta, alpha, smooth))
    return f.class_mean(_tversky_by_class(f, alpha, beta, smooth))


def focal_tversky(
    f: Fields,
    *,
    alpha: Positive = 0.3,
    beta: Positive = 0.7,
    gamma: Positive = 4 / 3,
    smooth: NotNegative = 1.0,
) -> tf.Tensor:
    """Return the mean over classes of (1 - T)^(1/gamma), (batch,) in [0, 1].

    T is the index of :func:`tversky`. With gamma > 1 classes that overlap well keep a larger
    gradient. Abraham & Khan 2018, arXiv:1810.07842, who sum over the classes and call the price
    of a false negative alpha.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
        alpha: the price of a false positive.
        beta: the price of a false negative.
        gamma: the inverse of the exponent.
        smooth: in voxels.
    """
    return f.class_mean(power(_tversky_by_class(f, alpha, beta, smooth), 1 / gamma))


def generalised_dice(f: Fields, *, smooth: NotNegative = 1.0) -> tf.Tensor:
    """Return 1 - (2 sum_c w_c <p,q>_c + s) / (sum_c w_c (|p|_c + |q|_c) + s), (batch,) in [0, 1].

    w_c = 1 / |p|_c^2, so that a large class does not outweigh a small one. Sudre et al. 2017,
    arXiv:1707.03237. The weights are scaled to 1 for the smallest class present; an absent class
    has this weight, too (the paper leaves it open, 1/0 is not usable), so that what is found of
    it falsely costs. The sums over classes are means, which matters to s only.

    Args:
        f: targets and probabilities; class 0 counts unless the settings say otherwise: balancing
            it is what the loss is for. An independent channel is balanced with its own rest
            instead, and the losses of the channels are averaged, so that one channel costs what
            two exclusive ones do.
        smooth: s in voxels of the smallest class.
    """
    both, missed, extra = confusion(f)
    wrong, right = missed + extra, 2 * both
    present = f.class_sums(f.p)
    if f.exclusive:
        first = 0 if f.counts_background(True) else 1
        weights = _inverse_squares(present, tf.reduce_min(_or_infinite(present)[:, first:], -1))
        mean_wrong = f.class_mean(weights * wrong, background=True)
        mean_right = f.class_mean(weights * right, background=True)
        return share(mean_wrong, mean_right, smooth)
    rest = f.class_sums(1 - f.p)
    rest_right = 2 * f.class_sums((1 - f.p) * (1 - f.q))
    least = tf.minimum(_or_infinite(present), _or_infinite(rest))
    w, w_rest = _inverse_squares(present, least), _inverse_squares(rest, least)
    mean_wrong = (w + w_rest) * wrong / 2  # what a channel misses, its rest finds too much
    return f.class_mean(share(mean_wrong, (w * right + w_rest * rest_right) / 2, smooth))


def attention_dice(f: Fields, *, beta: NotNegative = 2.0, smooth: NotNegative = 1.0) -> tf.Tensor:
    """Return (1 - D)^beta (1 - D), D the mean Dice score of a sample, (batch,) in [0, 1].

    A sample that is segmented well counts less than a hard one: the sample attention of ASDNet,
    Nie et al. 2018 (MICCAI). The factor takes part in the gradient, as that of the focal loss.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
        beta: how much; 0 is the Dice loss.
        smooth: in voxels.
    """
    loss = dice(f, smooth=smooth)
    return power(loss, 1 + beta)


class Confusion(NamedTuple):
    """Soft counts in voxels, each (batch, k)."""

    both: tf.Tensor
    missed: tf.Tensor
    extra: tf.Tensor


def confusion(f: Fields) -> Confusion:
    """Return <p,q>, <p,1-q> and <1-p,q> of every class: soft TP, FN and FP."""
    return Confusion(
        f.class_sums(f.p * f.q), f.class_sums(f.p * (1 - f.q)), f.class_sums((1 - f.p) * f.q)
    )


def share(wrong: tf.Tensor, right: tf.Tensor, smooth: float) -> tf.Tensor:
    """Return wrong / (wrong + right + smooth), and 0 where nothing is wrong."""
    return tf.math.divide_no_nan(wrong, wrong + right + smooth)


def power(values: tf.Tensor, exponent: float) -> tf.Tensor:
    """Return values^exponent of values >= 0, with a finite gradient at 0.

    An exponent below 1 has an infinite slope there. Below 1e-6 the value is that of the straight
    line through the origin instead.
    """
    least = 1e-6
    above = values > least
    # Inside `where`, too: the branch not taken must not make an infinite gradient.
    bent = tf.where(above, values, least * tf.ones_like(values)) ** exponent
    return tf.where(above, bent, values * least ** (exponent - 1))


def _tversky_by_class(f: Fields, alpha: float, beta: float, smooth: float) -> tf.Tensor:
    """Return 1 - T, (batch, k)."""
    both, missed, extra = confusion(f)
    return share(alpha * extra + beta * missed, both, smooth)


def _or_infinite(volumes: tf.Tensor) -> tf.Tensor:
    return tf.where(volumes > 0, volumes, volumes.dtype.max * tf.ones_like(volumes))


def _inverse_squares(volumes: tf.Tensor, least: tf.Tensor) -> tf.Tensor:
    """Return (least / volume)^2, and 1 for empty ones."""
    if len(least.shape) < len(volumes.shape):
        least = least[:, tf.newaxis]
    filled = tf.where(volumes > 0, volumes, tf.ones_like(volumes))
    return tf.where(volumes > 0, (least / filled) ** 2, tf.ones_like(volumes))
