"""U-Net for lazy labels. Ke et al. 2019, arXiv:1906.12177; 2D and 3D from one source.

One U with three heads: segmentation (few exact labels), detection (rough masks, quickly drawn)
and separation (scribbles where objects touch). A sample may carry labels for some of the heads
only. Widths are ours. With ``faithful=True``: batch normalisation and ReLU.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import keras

from tfseg.layers import double_conv
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, u_shape

TASKS = ("segmentation", "detection", "separation")  # the outputs' order


class LazyMultitaskUNetConfig(UShapeConfig):
    """Options of :func:`build_lazy_multitask_unet`, besides those of the U shape.

    Attributes:
        lazy_heads: train with the heads for rough and for scribbled labels, too.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu"}

    lazy_heads: bool = True


def build_lazy_multitask_unet(
    input_shape: tuple[int | None, ...], num_classes: int, config: LazyMultitaskUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    With ``lazy_heads`` the outputs are three such logits, in the order of :data:`TASKS`.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    block = functools.partial(double_conv, **config.style)
    finest = u_shape(inputs, config, encoder_block=block)[0]
    tasks = TASKS if config.lazy_heads else TASKS[:1]
    logits = [output_logits(finest, num_classes, name=f"{task}_logits") for task in tasks]
    outputs = logits if len(logits) > 1 else logits[0]
    return keras.Model(inputs, outputs, name="lazy_multitask_unet")
