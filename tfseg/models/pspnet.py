"""PSPNet. Zhao, Shi, Qi, Wang, Jia 2016, arXiv:1612.01105; 2D and 3D from one source.

A dilated encoder, the pyramid pooling module, and linear upsampling of the logits. With
``faithful=True``: ResNet-50 of width 64 with batch normalisation at output stride 8, bins 1, 2,
3, 6, a 512-channel head with dropout 0.1, and the auxiliary head on the third stage with weight
0.4. The default is narrower, with instance normalisation (patch batches are small), and at
output stride 4, because organs are smaller than street scenes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import conv_norm_act, pyramid_pooling
from tfseg.models.encoded import EncodedConfig, classify


class PSPNetConfig(EncodedConfig):
    """Options of :func:`build_pspnet`.

    Attributes:
        output_stride: of the encoder's last stage; the logits are upsampled by it.
        bins: cells an axis of each pyramid level.
        pooling: of the pyramid's cells: the paper compares both, and ends with ``average``.
        dropout: before the logits.
        auxiliary: train with a second head on the encoder's last stage but one.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "resnet50",
        "output_stride": 8,
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
    }

    output_stride: Literal[2, 4, 8, 16, 32] = 4
    bins: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (1, 2, 3, 6)
    pooling: Literal["average", "max"] = "average"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    auxiliary: bool = True


def build_pspnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: PSPNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits. With ``auxiliary`` the outputs are [logits, auxiliary logits], both at
    the input's size.
    """
    inputs = keras.Input(input_shape, name="image")
    features = config.encode(inputs, config.output_stride)
    deep, (_, less_deep) = features.last, features.stages[-2]
    x = pyramid_pooling(
        deep, bins=config.bins, pooling=config.pooling, name="pyramid", **config.style
    )
    x = conv_norm_act(x, filters=deep.shape[-1] // 4, name="head", **config.style)
    outputs = [classify(x, inputs, num_classes, dropout=config.dropout, name="logits")]
    if config.auxiliary:
        width = less_deep.shape[-1] // 4
        y = conv_norm_act(less_deep, filters=width, name="auxiliary", **config.style)
        outputs.append(
            classify(y, inputs, num_classes, dropout=config.dropout, name="auxiliary_logits")
        )
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name="pspnet")
