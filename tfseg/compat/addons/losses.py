"""Losses of Addons that segmentation and detection networks were trained with."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfseg.compat.addons.names import of_addons
from tfseg.errors import ConfigError


class _Loss(keras.losses.Loss):
    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        # Keras 2's "auto" is the mean over the batch outside of distribution strategies.
        if config.get("reduction") == "auto":
            config = {**config, "reduction": "sum_over_batch_size"}
        return cls(**config)


@of_addons
class SigmoidFocalCrossEntropy(_Loss):
    """Sum over the last axis of -a_t (1 - p_t)^g log(p_t), p_t the true side's probability.

    a_t is alpha for targets of 1 and 1 - alpha for targets of 0. Lin et al. 2017,
    arXiv:1708.02002. New networks use ``focal`` of :mod:`tfseg.losses`.

    Args:
        from_logits: predictions are logits; else probabilities.
        alpha: weight of the targets of 1; 0 weighs both sides with 1.
        gamma: g; how much less counts what is predicted well already.
        reduction: over all but the last axis. As in Addons, there is none by default.
        name: of the loss.
        **kwargs: those of any loss.

    Raises:
        ConfigError: gamma is negative.
    """

    def __init__(
        self,
        from_logits: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        reduction: str = "none",
        name: str = "sigmoid_focal_crossentropy",
        **kwargs: Any,
    ) -> None:
        if gamma < 0:
            raise ConfigError(f"SigmoidFocalCrossEntropy: gamma must be at least 0; got {gamma}.")
        super().__init__(reduction=reduction, name=name, **kwargs)
        self.from_logits = from_logits
        self.alpha = alpha
        self.gamma = gamma

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        cost = keras.ops.binary_crossentropy(y_true, y_pred, from_logits=self.from_logits)
        yes = tf.sigmoid(y_pred) if self.from_logits else y_pred
        # Of the wrong side: 1 - p_t.
        missing = y_true * (1 - yes) + (1 - y_true) * yes
        if self.alpha:
            cost *= y_true * self.alpha + (1 - y_true) * (1 - self.alpha)
        if self.gamma:
            cost *= missing**self.gamma
        return tf.reduce_sum(cost, -1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "alpha": self.alpha,
            "gamma": self.gamma,
        }


@of_addons
class GIoULoss(_Loss):
    """1 - GIoU of boxes (..., 4) of (y_min, x_min, y_max, x_max), in any unit.

    GIoU is intersection over union less the share of the smallest common box that neither
    covers, in [-1, 1]. Of two boxes without area IoU is 0. Rezatofighi et al. 2019,
    arXiv:1902.09630.

    Args:
        mode: ``giou``, or ``iou`` for 1 - IoU.
        reduction: over boxes.
        name: of the loss.
        **kwargs: those of any loss.

    Raises:
        ConfigError: another mode.
    """

    def __init__(
        self,
        mode: str = "giou",
        reduction: str = "sum_over_batch_size",
        name: str = "giou_loss",
        **kwargs: Any,
    ) -> None:
        if mode not in {"giou", "iou"}:
            raise ConfigError(f"GIoULoss: mode must be giou or iou; got {mode!r}.")
        super().__init__(reduction=reduction, name=name, **kwargs)
        self.mode = mode

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        # Predictions first: where corners coincide, the slope is theirs.
        low, other_low = y_pred[..., :2], y_true[..., :2]
        high, other_high = y_pred[..., 2:], y_true[..., 2:]
        common = _area(tf.maximum(low, other_low), tf.minimum(high, other_high))
        union = _area(low, high) + _area(other_low, other_high) - common
        overlap = tf.math.divide_no_nan(common, union)
        if self.mode == "iou":
            return 1 - overlap
        hull = _area(tf.minimum(low, other_low), tf.maximum(high, other_high))
        return 1 - overlap + tf.math.divide_no_nan(hull - union, hull)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


def _area(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Return the areas of boxes; 0 where a corner lies beyond its opposite."""
    return tf.reduce_prod(tf.maximum(high - low, 0), -1)
