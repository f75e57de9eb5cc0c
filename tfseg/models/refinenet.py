"""RefineNet. Lin, Milan, Shen, Reid 2016, arXiv:1611.06612; 2D and 3D from one source.

Four maps of an encoder are refined from the coarsest to the finest, each together with the result
of the one before: residual units, fusion, and chained pooling, which adds what ever wider
neighbourhoods hold. The paper normalises nothing after the encoder. With ``faithful=True``:
ResNet-101 of width 64 with batch normalisation, 512 channels for the coarsest map and 256 for the
others, and two chained poolings, as in the paper's figure (the authors' code has
``crp_stages=4``). The default is a narrower ResNet-18 with instance normalisation, in the
decoder, too: without any, training at the usual rates diverges.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import activate, conv, downsample, normalise, resize_like
from tfseg.models.encoded import EncodedConfig

_STRIDES = (32, 16, 8, 4)
_POOL = 5  # edge length of the chained pooling's windows
_QUIET = 0.1  # initial variance of what is added to a map: else each sum doubles it


class RefineNetConfig(EncodedConfig):
    """Options of :func:`build_refinenet`.

    Attributes:
        head_factor: channels of the three finer maps over ``base_filters``; the coarsest has
            twice as many.
        crp_stages: poolings in each chain.
        norm_decoder: normalise after the decoder's convolutions.
        dropout: before the logits.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "resnet101",
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "head_factor": 4,
        "norm_decoder": False,
        "dropout": 0.5,
    }

    head_factor: Annotated[int, Field(ge=1, le=16)] = 2
    crp_stages: Annotated[int, Field(ge=1, le=8)] = 2
    norm_decoder: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


def build_refinenet(
    input_shape: tuple[int | None, ...], num_classes: int, config: RefineNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits. The layer ``logits_coarse`` holds the logits of stride 4.
    """
    inputs = keras.Input(input_shape, name="image")
    features = config.encode(inputs, max(_STRIDES))
    width = config.head_factor * config.base_filters
    x = None
    for stride in _STRIDES:
        filters = 2 * width if stride == max(_STRIDES) else width
        name = f"refine{stride}"
        own = _conv(features.at(stride), filters, config, name=f"{name}_adapt")
        x = _refine([own] if x is None else [own, x], filters, config, name)
    for number in (1, 2):
        x = _residual_unit(x, config, name=f"end_unit{number}")
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    x = conv(x, filters=num_classes, dtype="float32", name="logits_coarse")
    logits = resize_like(x, inputs, dtype="float32", name="logits")
    return keras.Model(inputs, logits, name="refinenet")


def _refine(paths: list[Any], filters: int, config: RefineNetConfig, name: str) -> Any:
    """One RefineNet block: ``paths`` are maps, the finest first; the result has its size."""
    adapted = []
    for index, x in enumerate(paths):
        for number in (1, 2):
            x = _residual_unit(x, config, name=f"{name}_path{index + 1}_unit{number}")
        adapted.append(x)
    x = adapted[0]
    if len(adapted) > 1:
        x = _fuse(adapted, filters, config, name=f"{name}_fusion")
    x = _chained_pooling(x, config, name=f"{name}_chain")
    return _residual_unit(x, config, name=f"{name}_unit")


def _conv(
    x: Any, filters: int, config: RefineNetConfig, *, variance: float = 2.0, name: str
) -> Any:
    norm = config.norm if config.norm_decoder else "none"
    x = conv(x, filters=filters, variance=variance, bias=norm == "none", name=name)
    return normalise(x, kind=norm, name=f"{name}_norm")


def _residual_unit(x: Any, config: RefineNetConfig, *, name: str) -> Any:
    """RCU: x + conv(act(conv(act(x))))."""
    y = x
    for number in (1, 2):
        y = activate(y, kind=config.activation, name=f"{name}_{number}_act")
        variance = 2.0 if number == 1 else _QUIET
        y = _conv(y, x.shape[-1], config, variance=variance, name=f"{name}_{number}_conv")
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _fuse(paths: list[Any], filters: int, config: RefineNetConfig, *, name: str) -> Any:
    """Multi-resolution fusion: convolve to as many channels, resize to the first, sum."""
    maps: list[Any] = []
    for index, x in enumerate(paths):
        x = _conv(x, filters, config, variance=1.0 / len(paths), name=f"{name}{index + 1}_conv")
        maps.append(resize_like(x, maps[0], name=f"{name}{index + 1}_up") if maps else x)
    return keras.layers.Add(name=f"{name}_sum")(maps)


def _chained_pooling(x: Any, config: RefineNetConfig, *, name: str) -> Any:
    """CRP: act(x) plus, for each stage, the convolved maximum of the stage before."""
    x = activate(x, kind=config.activation, name=f"{name}_act")
    links = [x]
    for number in range(config.crp_stages):
        x = downsample(x, stride=1, size=_POOL, name=f"{name}_pool{number + 1}")
        x = _conv(x, x.shape[-1], config, variance=_QUIET, name=f"{name}_conv{number + 1}")
        links.append(x)
    return keras.layers.Add(name=f"{name}_sum")(links)
