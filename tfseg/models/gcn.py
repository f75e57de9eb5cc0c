"""Global convolutional network. Peng et al. 2017, arXiv:1703.02719; 2D and 3D from one source.

Class scores of four stages of an encoder, each by convolutions with a very large kernel that is
made of one long kernel per axis, smoothed by residual "boundary refinement" and joined from the
coarsest to the finest by learned upsampling. The paper's kernel is 15x15; a 3D one is three long
kernels after each other. With ``faithful=True``: ResNet-50 of width 64 with batch normalisation,
kernel 15, and as many channels as classes throughout. The default is ResNet-18 with instance
normalisation, kernel 7, and a few more channels.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import CropAt, activate, conv, linear_deconv, rank_of
from tfseg.models.config import output_logits
from tfseg.models.encoded import EncodedConfig

_STRIDES = (32, 16, 8, 4)
_QUIET = 0.1  # initial variance of what is added to a map: else each sum doubles it


class GCNConfig(EncodedConfig):
    """Options of :func:`build_gcn`.

    Attributes:
        kernel: edge length of the large kernel.
        width: channels of the score maps; 0 has the number of classes, as the paper does, and
            no convolution after them.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "resnet50",
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "kernel": 15,
        "width": 0,
    }

    kernel: Annotated[int, Field(ge=1, le=31)] = 7
    width: Annotated[int, Field(ge=0, le=256)] = 16


def build_gcn(input_shape: tuple[int | None, ...], num_classes: int, config: GCNConfig) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits.
    """
    width = config.width or num_classes
    inputs = keras.Input(input_shape, name="image")
    features = config.encode(inputs, max(_STRIDES))
    scores = None
    for stride in _STRIDES:
        own = _global_conv(features.at(stride), width, config.kernel, name=f"global{stride}")
        own = _refine_boundary(own, config, name=f"global{stride}_refine")
        if scores is None:
            scores = own
            continue
        scores = _double(scores, own, name=f"up{stride}")
        scores = keras.layers.Add(name=f"up{stride}_sum")([scores, own])
        scores = _refine_boundary(scores, config, name=f"up{stride}_refine")
    scores = _double(scores, features.at(2), name="up2")
    scores = _refine_boundary(scores, config, name="up2_refine")
    scores = _double(scores, inputs, name="up1")
    if not config.width:
        logits = _refine_boundary(scores, config, dtype="float32", name="logits")
    else:
        scores = _refine_boundary(scores, config, name="up1_refine")
        logits = output_logits(scores, num_classes, name="logits")
    return keras.Model(inputs, logits, name="gcn")


def _global_conv(x: Any, filters: int, kernel: int, *, name: str) -> Any:
    """Sum of two paths of long convolutions, one axis after the other, in opposite orders."""
    rank = rank_of(x)
    paths = []
    for path, axes in (("forth", range(rank)), ("back", reversed(range(rank)))):
        y = x
        for step, axis in enumerate(axes):
            size = tuple(kernel if axis == own else 1 for own in range(rank))
            y = conv(
                y,
                filters=filters,
                kernel=size,
                variance=1.0 if step else 2.0,
                name=f"{name}_{path}_axis{axis}",
            )
        paths.append(y)
    return keras.layers.Add(name=f"{name}_sum")(paths)


def _refine_boundary(x: Any, config: GCNConfig, *, dtype: str | None = None, name: str) -> Any:
    """x + conv(act(conv(x)))."""
    y = conv(x, filters=x.shape[-1], name=f"{name}_1_conv")
    y = activate(y, kind=config.activation, name=f"{name}_act")
    y = conv(y, filters=x.shape[-1], variance=_QUIET, dtype=dtype, name=f"{name}_2_conv")
    return keras.layers.Add(dtype=dtype, name=name)([x, y])


def _double(x: Any, reference: Any, *, name: str) -> Any:
    """Upsample by 2, and cut what is past the size of ``reference``."""
    x = linear_deconv(x, stride=2, name=f"{name}_deconv")
    return CropAt(name=f"{name}_crop")([x, reference])
