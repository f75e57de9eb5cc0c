"""Kid-Net. Taha, Lo, Li, Zhao 2018, arXiv:1806.06769; 3D, and the same in 2D.

Segments the kidney's vessels: a U-Net of residual units, short skips within them and long ones
across, trained at three resolutions at once. Widths, and the weights 1, 1/2, 1/4 of the three
outputs, are a preset; the paper's are not known to us. ``faithful=True`` has batch
normalisation, as the paper; the default instance normalisation.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import residual_unit
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, u_shape

_SUPERVISED = 3  # finest levels with an output of their own


class KidNetConfig(UShapeConfig):
    """Options of :func:`build_kidnet`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        deep_supervision: train with further outputs at a half and a quarter of the resolution.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu", "bias": True}

    base_filters: Annotated[int, Field(ge=1, le=512)] = 16
    deep_supervision: bool = True


def build_kidnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: KidNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    With ``deep_supervision`` the outputs are a list of up to three: full, half and quarter
    resolution, as far as the decoder goes.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    maps = u_shape(inputs, config, encoder_block=partial(residual_unit, **config.style))
    supervised = _SUPERVISED if config.deep_supervision else 1
    logits = [
        output_logits(x, num_classes, name=f"logits{level}")
        for level, x in enumerate(maps[:supervised])
    ]
    return keras.Model(inputs, logits if len(logits) > 1 else logits[0], name="kidnet")
