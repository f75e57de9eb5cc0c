"""Attention U-Net. Oktay et al. 2018, arXiv:1804.03999; 2D and 3D from one source.

A U-Net whose skip connections pass gates: a coarser signal says which voxels of the finer map
matter. With ``faithful=True`` it is the authors' network for abdominal CT: 16 to 256 channels,
two gates a level merged by a 1x1 convolution, batch normalisation, ReLU, biases, linear
upsampling, and logits that join those of every level. ``gate="same_grid"`` is the form that is
widely used in 2D: a gate at every level on the upsampled map's own grid.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import keras

from tfseg.layers import (
    attention_gate,
    conv,
    conv_norm_act,
    double_conv,
    downsample,
    nearest_upsample,
    resize_like,
)
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, concat


class AttentionUNetConfig(UShapeConfig):
    """Options of :func:`build_attention_unet`, besides those of the U shape.

    Attributes:
        gate: of the skip connections: ``single`` or ``multi`` (two) gates with a signal of the
            next coarser grid, at every level but the finest; ``same_grid``; or ``none``.
        deep_supervision: the logits are a 1x1 convolution of those of all levels of the decoder,
            so that each of them is trained directly; else of the finest level alone.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 16,
        "norm": "batch",
        "activation": "relu",
        "bias": True,
        "gate": "multi",
    }

    gate: Literal["single", "multi", "same_grid", "none"] = "single"
    deep_supervision: bool = True


def build_attention_unet(
    input_shape: tuple[int | None, ...], num_classes: int, config: AttentionUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(config.depth):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        filters = config.filters(level)
        x = double_conv(x, filters=filters, name=f"encoder{level}", **config.style)
        skips.append(x)

    coarse = config.gate in ("single", "multi")
    logits: list[Any] = []
    for level in reversed(range(config.depth - 1)):
        name, filters = f"decoder{level}", config.filters(level)
        skip, signal = skips[level], x
        x = _upsample(x, skip, config, filters=filters, name=f"up{level}")
        if coarse and level:
            if level == config.depth - 2:
                signal = conv_norm_act(
                    signal, filters=signal.shape[-1], kernel=1, name="signal", **config.style
                )
            skip = _coarse_gates(skip, signal, config, name=f"gate{level}")
        elif config.gate == "same_grid":
            skip = attention_gate(
                skip, x, filters=max(1, filters // 2), stride=1, norm=config.norm,
                bias=config.bias, project=False, name=f"gate{level}",
            )  # fmt: skip
        x = double_conv(concat(skip, x, name=name), filters=filters, name=name, **config.style)
        if config.deep_supervision:
            scale = conv(x, filters=num_classes, kernel=1, name=f"scale{level}")
            logits.append(resize_like(scale, inputs, name=f"scale{level}_up"))
    if config.deep_supervision and len(logits) > 1:
        x = keras.layers.Concatenate(name="scales")(logits)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="attention_unet")


def attention_maps(model: Any) -> Any:
    """Return the network that answers with its gates' alpha instead of logits.

    Args:
        model: of :func:`build_attention_unet`, or any with gates.

    Returns:
        ``keras.Model``: image -> {layer's name: alpha (batch, [z,] y, x, 1) in [0, 1]}.
    """
    alphas = {layer.name: layer.output for layer in model.layers if layer.name.endswith("_alpha")}
    return keras.Model(model.input, alphas, name=f"{model.name}_attention")


def _upsample(x: Any, skip: Any, config: AttentionUNetConfig, *, filters: int, name: str) -> Any:
    if config.gate != "same_grid":
        return resize_like(x, skip, name=name)
    x = nearest_upsample(x, factor=2, name=name)
    return conv_norm_act(x, filters=filters, name=name, **config.style)


def _coarse_gates(skip: Any, signal: Any, config: AttentionUNetConfig, *, name: str) -> Any:
    """Gate ``skip`` once or twice, and merge what passes."""
    passed = [
        attention_gate(
            skip, signal, filters=skip.shape[-1], bias=config.bias, project_norm=config.norm,
            name=f"{name}_{index + 1}",
        )
        for index in range(2 if config.gate == "multi" else 1)
    ]  # fmt: skip
    merged = keras.layers.Concatenate(name=f"{name}_both")(passed) if passed[1:] else passed[0]
    return conv_norm_act(
        merged, filters=skip.shape[-1], kernel=1, name=f"{name}_merge", **config.style
    )
