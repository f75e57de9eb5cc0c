"""AlexNet. Krizhevsky, Sutskever, Hinton 2012, doi:10.1145/3065386; 2D and 3D.

The form with one tower of 64, 192, 384, 256 and 256 channels (Krizhevsky 2014, arXiv:1404.5997),
without local response normalisation, as torchvision has it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from tfseg.layers import ZeroMargin, conv_norm_act, downsample
from tfseg.models.backbones.classifier import (
    BackboneConfig,
    build_classifier,
    dense_head,
    mean_head,
)

_CELLS, _UNITS = 6, 4096


class AlexNetConfig(BackboneConfig):
    """Options of :func:`build_alexnet`.

    Attributes:
        head: ``dense``, two layers of 4096 units over 6 cells an axis, or ``mean``, over which a
            single layer decides.
    """

    paper: ClassVar[dict[str, Any]] = {"head": "dense", "dropout": 0.5}

    norm: Literal["instance", "batch", "group", "none"] = "none"
    head: Literal["mean", "dense"] = "mean"

    @property
    def smallest(self) -> int:
        """What the unpadded poolings need."""
        return 63


def build_alexnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: AlexNetConfig
) -> Any:
    """Build the classifier: image (batch, [z,] y, x, c) -> logits (batch, classes)."""

    def body(x: Any) -> Any:
        style = config.style("alexnet")
        prefix = style.prefix
        x = ZeroMargin(2, name=f"{prefix}pad")(x)
        x = conv_norm_act(
            x,
            filters=style.width(64),
            kernel=11,
            stride=4,
            padding="valid",
            name=f"{prefix}stage1",
            **style.block,
        )
        for number, (filters, kernel) in enumerate(((192, 5), (384, 3), (256, 3), (256, 3)), 2):
            if number in {2, 3}:
                x = _pool(x, name=f"{prefix}stage{number - 1}_pool")
            x = conv_norm_act(
                x,
                filters=style.width(filters),
                kernel=kernel,
                name=f"{prefix}stage{number}",
                **style.block,
            )
        x = _pool(x, name=f"{prefix}stage5_pool")
        if config.head == "mean":
            return mean_head(x, num_classes, dropout=config.dropout)
        return dense_head(
            x,
            num_classes,
            cells=_CELLS,
            widths=(style.width(_UNITS),) * 2,
            activation=config.activation,
            dropout=config.dropout,
        )

    return build_classifier("alexnet", input_shape, config, body)


def _pool(x: Any, *, name: str) -> Any:
    return downsample(x, stride=2, size=3, padding="valid", name=name)
