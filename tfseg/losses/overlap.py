"""Losses that are one minus an overlap metric."""

from __future__ import annotations

from typing import Annotated

import tensorflow as tf
from pydantic import Field

from tfseg.losses.fields import Fields

Smooth = Annotated[float, Field(ge=0)]


def dice(f: Fields, *, smooth: Smooth = 1.0) -> tf.Tensor:
    """Return 1 - the mean over classes of (2 <p,q> + s) / (|p| + |q| + s), (batch,) in [0, 1].

    |.| is the sum over voxels (the L1 form): Drozdzal et al. 2016, arXiv:1608.04117.

    Args:
        f: targets and probabilities; class 0 does not count unless the settings say so.
        smooth: s in voxels. With any s a class absent from both costs 0.
    """
    both = f.class_sums(f.p * f.q)
    total = f.class_sums(f.p) + f.class_sums(f.q)
    return 1 - f.class_mean(ratio_or_one(2 * both + smooth, total + smooth))


def ratio_or_one(above: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """Return above / below, and 1 where below is 0: nothing to find, nothing found."""
    return tf.where(below > 0, tf.math.divide_no_nan(above, below), tf.ones_like(below))
