"""Cross-entropies with weights that are known beforehand: none, or one a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import tensorflow as tf
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.losses.fields import Fields

Factor = Annotated[float, Field(ge=0)]
Factors = Annotated[tuple[Factor, ...], Field(min_length=1, max_length=255)]


def ce(f: Fields) -> tf.Tensor:
    """Return the mean over voxels of -log q(true class), (batch,).

    Over independent channels it is the binary cross-entropy -(p log q + (1-p) log(1-q)), averaged
    over them too. In the stable form: logits of +-1e4 give finite losses and gradients.

    Fixed weights a class are the setting that all losses share: H-DenseUNet (Li et al. 2018,
    arXiv:1709.07330) trains with ``ce(class_weights=[0.78, 0.65, 8.57])`` for background, liver
    and tumour.
    """
    if f.exclusive:
        return f.voxel_mean(tf.nn.softmax_cross_entropy_with_logits(f.p, f.logits))
    return f.voxel_mean(tf.nn.sigmoid_cross_entropy_with_logits(f.p, f.logits))


def bce(f: Fields) -> tf.Tensor:
    """Return the mean over voxels and channels of -(p log q + (1-p) log(1-q)), (batch,).

    Every channel is a yes or no of its own, over a softmax too, where it pushes the wrong classes
    down one by one. With one channel or two exclusive ones it equals :func:`ce`.
    """
    values = -(f.p * f.log_q + (1 - f.p) * f.log_not_q)
    # voxel_mean adds exclusive classes up and averages independent ones.
    return f.voxel_mean(values / f.classes if f.exclusive else values)


def wce(f: Fields, *, beta: Factor | Factors = 1.0) -> tf.Tensor:
    """Return the mean over voxels of -(beta p log q + (1-p) log(1-q)), (batch,).

    Above 1, beta makes misses dearer than false alarms; below 1 cheaper. With 1 it is :func:`ce`.

    Args:
        f: targets and probabilities.
        beta: the factor of the foreground: of every class but 0 where classes are exclusive, of
            the positive side of every channel otherwise. Or one a class, the background included.
    """
    given = beta if isinstance(beta, tuple) else None
    if given is not None:
        yes = one_a_class(f, "beta", given)
    elif f.exclusive:
        yes = tf.constant([1.0] + [beta] * (f.classes - 1), f.dtype)
    else:
        yes = tf.constant(beta, f.dtype)
    return f.voxel_mean(log_loss(f, yes, 1.0))


def log_loss(f: Fields, yes: tf.Tensor | float, no: tf.Tensor | float) -> tf.Tensor:
    """Return the weighted cross-entropy of every channel for ``voxel_mean``.

    Args:
        f: targets and probabilities.
        yes: factor of -p log q; broadcasts to the result.
        no: factor of -(1-p) log(1-q), which independent channels have and exclusive ones do not.

    Returns:
        (batch, [z,] y, x, k).
    """
    values = -yes * f.p * f.log_q
    return values if f.exclusive else values - no * (1 - f.p) * f.log_not_q


def one_a_class(f: Fields, name: str, values: Sequence[float]) -> tf.Tensor:
    """Return an option that has one value a class as (k,).

    Raises:
        ConfigError: there are more or fewer values than classes.
    """
    if len(values) != f.classes:
        raise ConfigError(
            f"{name} must have one entry a class ({f.classes}, the background included); got "
            f"{len(values)}."
        )
    return tf.constant(list(values), f.dtype)
