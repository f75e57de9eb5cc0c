"""One answer from those of several networks."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfseg.errors import ConfigError

VOTES = ("mean", "majority", "product")


@keras.saving.register_keras_serializable("tfseg")
class FuseLogits(keras.layers.Layer):
    """Fuse n logits (batch, [z,] y, x, k) of the same voxels into one, in float32.

    The softmax of the result is, with p_i that of the i-th logits,

    - ``mean``: mean_i p_i;
    - ``majority``: (votes + mean_i p_i) / (n + 1), where votes counts the i whose p_i is largest
      in the class. As a mean is at most 1, most votes win; classes with as many votes each are
      told apart by their mean probability. A vote itself has no gradient, the mean has;
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
            # log of the sum of exponentials, shifted so that none overflows
            top = logs[0]
            for log in logs[1:]:
                top = tf.maximum(top, log)
            top = tf.stop_gradient(top)
            total = tf.add_n([tf.exp(log - top) for log in logs])
            fused = top + tf.math.log(total) - math.log(len(logs))
        if self.vote == "majority":
            votes = tf.add_n([tf.one_hot(tf.argmax(log, -1), log.shape[-1]) for log in logs])
            voted = tf.math.log(tf.maximum(votes, 1.0) + tf.exp(fused))
            fused = tf.where(votes > 0, voted, fused)
        return fused[..., 1:] - fused[..., :1] if single else fused

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vote": self.vote}
