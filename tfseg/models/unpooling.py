"""What SegNet and DeconvNet share: VGG's stages with max-pooling that is undone voxel by voxel.

The encoder's layers have the names of the VGG encoder, so that weights fit either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tfseg.layers import MaxPoolWithMask, MaxUnpool, conv_norm_act
from tfseg.models.backbones.vgg import VGGS

VGGName = Literal["vgg16", "vgg19"]

_WIDEST = 8  # channels of VGG's last two stages over those of its first


def vgg_stages(backbone: VGGName, stages: int, base_filters: int) -> list[tuple[int, int]]:
    """Return (convolutions, channels) of the first ``stages`` stages, finest first."""
    counts = VGGS[backbone][:stages]
    return [(count, base_filters * min(2**i, _WIDEST)) for i, count in enumerate(counts)]


def masked_encoder(
    x: Any, stages: Sequence[tuple[int, int]], *, prefix: str, **style: Any
) -> tuple[Any, list[Any]]:
    """Return the map after the last pooling, and the mask of each pooling, finest first.

    Args:
        x: (batch, [z,] y, x, c); every axis divisible by 2^len(stages).
        stages: (convolutions, channels), finest first.
        prefix: of the layers' names.
        **style: of :func:`~tfseg.layers.conv_norm_act`.
    """
    masks = []
    for index, (count, filters) in enumerate(stages):
        name = f"{prefix}stage{index + 1}"
        for number in range(count):
            x = conv_norm_act(x, filters=filters, name=f"{name}_{number + 1}", **style)
        x, mask = MaxPoolWithMask(name=f"{name}_pool")(x)
        masks.append(mask)
    return x, masks


def unpool(x: Any, mask: Any, *, name: str) -> Any:
    """Double the spatial sizes: each value goes to where the pooled maximum was."""
    return MaxUnpool(name=name)([x, mask])
