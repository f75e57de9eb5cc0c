"""Two-stage U-Net. Xia et al. 2018, doi:10.1007/978-3-030-12029-0_37; 3D, and the same in 2D.

A U-Net on the reduced image finds where the object is. A window of fixed size around its centre
of mass is cut out of the full image for a second U-Net, whose answer is pasted back. The place of
the window is found by the graph itself; no gradient flows into it.

In the paper, and with ``faithful=True`` (batch normalisation, ReLU, max-pooling, five levels),
there is background outside the window. By default the first network's answer stays there: a patch
may show more of an object than the window holds.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import CentreCut, PasteLogits, region_weight, resize_like
from tfseg.models.cascade import UCascadeConfig, check_cut, reduce
from tfseg.models.config import Stage

_SHARE = 0.75  # of the input's edges, where the window's size is not given


class UNet3DTwoStageConfig(UCascadeConfig):
    """Options of :func:`build_unet3d_two_stage`.

    Attributes:
        reduction: factor by which the first network's image is smaller, along each axis.
        window: voxels of the second network's window along each axis; an input that is smaller
            is taken whole. ``None`` is three quarters of the input, rounded up to what the
            network can take.
        outside: what is around the window: the first network's answer, or background.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 16,
        "depth": 5,
        "norm": "batch",
        "activation": "relu",
        "pooling": "max",
        "outside": "background",
    }

    reduction: Annotated[int, Field(ge=1, le=8)] = 2
    window: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    outside: Literal["coarse", "background"] = "coarse"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis must be divisible by: the first network's image is reduced."""
        return tuple(self.reduction * factor for factor in super().divisor(rank))

    def training_stages(self) -> tuple[Stage, ...]:
        """Return the coarse network's stage, then the fine one's."""
        return self.ordered([("coarse_", 1), ("fine_", 0)], outputs=2)


def build_unet3d_two_stage(
    input_shape: tuple[int | None, ...], num_classes: int, config: UNet3DTwoStageConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> [logits, the first network's logits].

    The logits are (batch, [z,] y, x, classes), the first network's on its reduced grid.

    Raises:
        ConfigError: an input or window size that the poolings do not divide.
    """
    rank = len(input_shape) - 1
    config.check_size(input_shape[:-1])
    multiple = UCascadeConfig.divisor(config, rank)
    check_cut(config.window, multiple, "window")
    inputs = keras.Input(input_shape, name="image")
    reduced = reduce(inputs, config.reduction, name="coarse_image")
    coarse = config.u_net(reduced, num_classes, prefix="coarse_")
    weight = region_weight(coarse, name="region_weight")
    cut, window = CentreCut(config.window, multiple, _SHARE, dtype="float32", name="window")(
        [inputs, weight]
    )
    fine = config.u_net(cut, num_classes, prefix="fine_")
    others = resize_like(coarse, inputs, dtype="float32", name="coarse_resized")
    outside = "others" if config.outside == "coarse" else "background"
    logits = PasteLogits(outside, dtype="float32", name="logits")([fine, window, others])
    return keras.Model(inputs, [logits, coarse], name="unet3d_two_stage")
