"""DeepLab v3. Chen, Papandreou, Schroff, Adam 2017, arXiv:1706.05587; 2D and 3D.

A dilated encoder, and either atrous spatial pyramid pooling with the image's mean (``parallel``),
or further copies of the encoder's last stage at ever larger dilation (``cascade``). With
``faithful=True``: ResNet-50 of width 64 with batch normalisation at output stride 16, rates 6,
12, 18, 256 channels, and as torchvision publishes it a 3x3 convolution before the logits and an
auxiliary head on the third stage with weight 0.5. The default is ResNet-18 at output stride 4
with instance normalisation and lower rates, because organs are smaller than street scenes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import aspp, bottleneck_block, conv_norm_act
from tfseg.models.encoded import EncodedConfig, classify

_COPIES = 3  # blocks 5 to 7
_AUXILIARY_DROPOUT = 0.1


class DeepLabV3Config(EncodedConfig):
    """Options of :func:`build_deeplabv3`.

    Attributes:
        mode: what follows the encoder.
        output_stride: of the encoder; the logits are upsampled by it.
        rates: dilations of the pyramid, in voxels of the encoder's map; the paper's are for
            output stride 16, and doubled at 8.
        multi_grid: dilations of the three units of each block of the cascade, over the block's.
        head_factor: channels of the head over ``base_filters``.
        last_conv: have a 3x3 convolution before the logits, as torchvision's form does.
        dropout: of the head, with ``mode=parallel`` or ``last_conv``.
        auxiliary: train with a second head on the encoder's last stage but one.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "resnet50",
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "output_stride": 16,
        "rates": (6, 12, 18),
        "last_conv": True,
        "dropout": 0.5,
    }

    mode: Literal["parallel", "cascade"] = "parallel"
    output_stride: Literal[2, 4, 8, 16, 32] = 4
    rates: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (2, 4, 8)
    multi_grid: tuple[
        Annotated[int, Field(ge=1, le=16)],
        Annotated[int, Field(ge=1, le=16)],
        Annotated[int, Field(ge=1, le=16)],
    ] = (1, 2, 1)
    head_factor: Annotated[int, Field(ge=1, le=16)] = 4
    last_conv: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    auxiliary: bool = True


def build_deeplabv3(
    input_shape: tuple[int | None, ...], num_classes: int, config: DeepLabV3Config
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits. With ``auxiliary`` the outputs are [logits, auxiliary logits], both at
    the input's size.
    """
    filters = config.head_factor * config.base_filters
    inputs = keras.Input(input_shape, name="image")
    features = config.encode(inputs, config.output_stride)
    x = features.last
    if config.mode == "parallel":
        x = aspp(x, rates=config.rates, filters=filters, name="aspp", **config.style)
        x = conv_norm_act(x, filters=filters, kernel=1, name="project", **config.style)
    else:
        x = _cascade(x, config)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    if config.last_conv:
        x = conv_norm_act(x, filters=filters, name="head", **config.style)
    outputs = [classify(x, inputs, num_classes, name="logits")]
    if config.auxiliary:
        _, y = features.stages[-2]
        y = conv_norm_act(y, filters=y.shape[-1] // 4, name="auxiliary", **config.style)
        outputs.append(
            classify(y, inputs, num_classes, dropout=_AUXILIARY_DROPOUT, name="auxiliary_logits")
        )
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name="deeplabv3")


def _cascade(x: Any, config: DeepLabV3Config) -> Any:
    """Append blocks 5 to 7: three bottlenecks each, at twice the dilation of the block before.

    A block's units dilate by its own dilation times ``multi_grid`` (paper, section 3.2.1).
    """
    dilation = max(1, 32 // config.output_stride)  # of the encoder's last stage
    filters = x.shape[-1] // 4
    for block in range(_COPIES):
        dilation *= 2
        for unit, factor in enumerate(config.multi_grid):
            x = bottleneck_block(
                x,
                filters=filters,
                dilation=dilation * factor,
                name=f"block{block + 5}_unit{unit + 1}",
                **config.style,
            )
    return x
