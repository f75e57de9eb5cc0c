"""2.5D residual U-Nets, one after the other. Han 2017, arXiv:1704.07239: liver, then lesions.

Both networks go through a volume slice by slice, and see each slice with its neighbours as
channels; ends repeat the end slices. The first one finds the organ (all foreground labels), on
slices of coarser pixels; the second what lies in it (labels 2 and up; label 1 is the organ), at
full resolution. P(lesion) = P(organ) P(lesion | organ), and the second factor is zero where the
first network does not find the organ (:func:`tfseg.layers.region_weight`; no gradient flows
through it). With two classes the second network refines the first.

With ``faithful=True`` the networks have 64 to 1024 channels, batch normalisation, ReLU, biases,
and five slices; pixels of the first are 2.5 times as large, here rounded to a size that its
poolings divide. Dropout and the volume's own resampling are not part of it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, field_validator

from tfseg.layers import (
    LinearScale,
    RegionGate,
    SliceStacks,
    SlicesToVolume,
    region_weight,
    resize_like,
)
from tfseg.models.cascade import CascadeConfig, foreground_group, sub_network
from tfseg.models.cfcn import organ_and_inside
from tfseg.models.config import Stage


class HanDCNNConfig(CascadeConfig):
    """Options of :func:`build_han_dcnn25d`.

    Attributes:
        context: slices that a network sees at once; odd.
        coarse: edge of the first network's pixels, in pixels of the image.
        base_filters: channels of the finest level; twice as many a level down.
        depth: number of levels of each network, the bottom included.
        bias: keep the biases of convolutions that a norm follows.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "depth": 5,
        "norm": "batch",
        "activation": "relu",
        "bias": True,
    }

    context: Annotated[int, Field(ge=1, le=15)] = 5
    coarse: Annotated[float, Field(ge=1, le=8)] = 2.5
    base_filters: Annotated[int, Field(ge=1, le=512)] = 32
    depth: Annotated[int, Field(ge=2, le=6)] = 4
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu", "elu"] = "leaky_relu"
    bias: bool = False

    @field_validator("context")
    @classmethod
    def _has_a_middle(cls, context: int) -> int:
        if context % 2 == 0:
            raise ValueError("must be odd, a slice and as many on either side")
        return context

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis must be divisible by: only y and x are pooled."""
        return (1,) * (rank - 2) + (2 ** (self.depth - 1),) * 2

    def training_stages(self) -> tuple[Stage, ...]:
        """Return the organ's stage, then the lesions'."""
        return self.ordered([("organ_", 1), ("lesion_", 2)], outputs=3)

    def label_groups(self, num_classes: int) -> tuple[tuple[int, ...] | None, ...]:
        """Return that the organ is all foreground, and what the second network tells apart."""
        inner = (0, 0, *range(1, num_classes - 1)) if num_classes > 2 else None
        return (None, foreground_group(num_classes), inner)

    def network(self, slices: Any, num_classes: int, *, prefix: str) -> Any:
        """Build a residual U-Net on ``slices`` (batch * z, y, x, c) and return its logits."""
        return sub_network(
            slices,
            "res_unet",
            num_classes,
            prefix=prefix,
            attention=False,
            base_filters=self.base_filters,
            depth=self.depth,
            norm=self.norm,
            activation=self.activation,
            bias=self.bias,
        )


def build_han_dcnn25d(
    input_shape: tuple[int | None, ...], num_classes: int, config: HanDCNNConfig
) -> Any:
    """Build the network: image (batch, z, y, x, c) -> [logits, organ's logits, lesions'].

    The logits are (batch, z, y, x, classes). The organ's have two classes, the lesions' all
    labels but the organ's, or both where there are only two; they know nothing of the organ.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    slices = SliceStacks(config.context // 2, name="slices")(inputs)  # (batch * z, y, x, k c)

    multiple = config.divisor(2)[-1]
    coarse = LinearScale(1 / config.coarse, multiple, name="coarse_slices")(slices)
    organ = config.network(coarse, 2, prefix="organ_")
    organ = resize_like(organ, slices, dtype="float32", name="organ_up")
    organ = SlicesToVolume(dtype="float32", name="organ_volume")([organ, inputs])

    classes = max(1, num_classes - (num_classes > 2))
    lesion = config.network(slices, classes, prefix="lesion_")
    lesion = SlicesToVolume(dtype="float32", name="lesion_volume")([lesion, inputs])

    weight = region_weight(organ, name="organ_weight")
    inside = RegionGate(dtype="float32", name="lesion_gated")([lesion, weight])
    logits = organ_and_inside(organ, inside) if num_classes > 2 else inside
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model(inputs, [logits, organ, lesion], name="han_dcnn25d")
