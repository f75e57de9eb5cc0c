"""Losses, from logits, for 2D and 3D. One file a family.

Importing this package imports no TensorFlow; :func:`build_loss` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfseg.losses.expression import (
    Term,
    fill_frequencies,
    leave_out,
    parse_loss,
    wants_frequencies,
)
from tfseg.losses.registry import LOSSES, LossInfo, loss_info
from tfseg.losses.settings import LossSettings

if TYPE_CHECKING:
    from tfseg.losses.loss import SegmentationLoss

__all__ = [
    "LOSSES",
    "LossInfo",
    "LossSettings",
    "Term",
    "build_loss",
    "fill_frequencies",
    "leave_out",
    "loss_info",
    "parse_loss",
    "wants_frequencies",
]


def build_loss(
    expression: str, *, multi_label: bool = False, reduction: str = "sum_over_batch_size"
) -> SegmentationLoss:
    """Return a sum of losses, e.g. ``"dice + 0.5*focal(gamma=2)"``, as a Keras loss.

    Args:
        expression: see :mod:`tfseg.losses.expression`.
        multi_label: channels are independent (sigmoid) rather than exclusive (softmax).
        reduction: over the samples of a batch: ``sum_over_batch_size``, ``sum`` or ``none``.

    Raises:
        ConfigError: the expression, a name or an option is not valid.
    """
    from tfseg.losses.loss import SegmentationLoss

    return SegmentationLoss(expression, multi_label=multi_label, reduction=reduction)
