"""One answer from those of several networks."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfseg.errors import ConfigError

VOTES = ("mean", "majority", "product")
_STEEPNESS = 20.0  # a view that prefers a class by 0.25 gives it 99 % of its vote


@keras.saving.register_keras_serializable("tfseg")
class FuseLogits(keras.layers.Layer):
    """Fuse n logits (batch, [z,] y, x, k) of the same voxels into one, in float32.

    The softmax of the result is, with p_i that of the i-th logits l_i,

    - ``mean``: mean_i p_i;
    - ``majority``: (sum_i softmax(20 l_i) + mean_i p_i) / (n + 1). The first is the number of
      votes, as softmax(20 l_i) is 1 for the class that l_i prefers; the mean, at most 1, never
      outweighs a vote and decides between classes with as many. A view that is undecided within
      a tenth splits its vote, so that rounding, which differs between runtimes, moves the answer
      by as little as it moves the logits, and so that votes have gradients;
    - ``product``: prod_i p_i, scaled to sum 1 over the classes.

    A single channel is the logit of the foreground against a background of logit 0.
    """

    def __init__(self, vote: str = "mean", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        if vote not in VOTES:
            raise ConfigError(f"vote must be one of {', '.join(VOTES)}; got {vote!r}.")
        self.vote = vote

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        single = inputs[0].shape[-1] == 1
        if single:
            inputs = [tf.concat([tf.zeros_like(logits), logits], -1) for logits in inputs]
        logs = [tf.nn.log_softmax(logits) for logits in inputs]
        if self.vote == "product":
            fused = tf.add_n(logs)
        else:
            fused = _log_sum(logs) - math.log(len(logs))
        if self.vote == "majority":
            votes = [tf.nn.log_softmax(_STEEPNESS * logits) for logits in inputs]
            fused = _log_sum([_log_sum(votes), fused]) - math.log(len(logs) + 1)
        return fused[..., 1:] - fused[..., :1] if single else fused

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vote": self.vote}


def _log_sum(logs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return log sum_i exp(log_i), shifted so that nothing overflows."""
    top = tf.stop_gradient(functools.reduce(tf.maximum, logs))
    return top + tf.math.log(tf.add_n([tf.exp(log - top) for log in logs]))
