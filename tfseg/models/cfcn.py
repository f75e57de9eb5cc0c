"""Cascaded FCN. Christ et al. 2016, arXiv:1610.02177; 2017, arXiv:1702.05970; 2D and 3D.

A U-Net finds the organ (all foreground labels), a second one what lies in it (labels 2 and up;
label 1 is the organ). The second sees the box around the organ, resized to the first one's input,
with everything outside the organ set to 0, the mean intensity. So lesions are part of the organ by
construction: P(lesion) = P(organ) P(lesion | organ), and the second factor is zero outside.
The organ's mask is soft where the first network is unsure (:func:`tfseg.layers.region_weight`); no
gradient flows through mask and box. With two classes the second network refines the first.

With ``faithful=True`` both are the unpadded U-Net of 572 -> 388 voxels; ``tfseg train`` mirrors
patches at their borders for them. The paper's dense CRF is no part of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.layers import BoxCut, CropLike, PasteLogits, RegionGate, region_weight
from tfseg.models.cascade import UCascadeConfig, foreground_group
from tfseg.models.config import Stage
from tfseg.models.unet import UNetConfig


class CFCNConfig(UCascadeConfig):
    """Options of :func:`build_cfcn`.

    Attributes:
        margin: around the organ's box on each side, as a share of its edge.
        padding: ``same``, or ``valid`` for unpadded U-Nets, whose answer is smaller than the
            input.
        dropout: rate at the end of each contracting path.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "depth": 5,
        "norm": "none",
        "activation": "relu",
        "pooling": "max",
        "padding": "valid",
        "dropout": 0.5,
        "margin": 0.0,
    }

    margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    padding: Literal["same", "valid"] = "same"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def wider_input(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest input size whose output covers ``spatial``: that of each U-Net."""
        u_net = UNetConfig(depth=self.depth, pooling=self.pooling, padding=self.padding)
        return u_net.wider_input(spatial)

    def training_stages(self) -> tuple[Stage, ...]:
        """Return the organ's stage, then the lesions'."""
        return self.ordered([("organ_", 1), ("lesion_", 2)], outputs=3)

    def label_groups(self, num_classes: int) -> tuple[tuple[int, ...] | None, ...]:
        """Return that the organ is all foreground, and what the second network tells apart."""
        inner = (0, 0, *range(1, num_classes - 1)) if num_classes > 2 else None
        return (None, foreground_group(num_classes), inner)


def build_cfcn(input_shape: tuple[int | None, ...], num_classes: int, config: CFCNConfig) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> [logits, organ's logits, lesions'].

    The logits are (batch, [z,] y, x, classes). The organ's have two classes, the lesions' all
    labels but the organ's, or both where there are only two.

    Raises:
        ConfigError: an input size that the U-Nets cannot take.
    """
    style = {"padding": config.padding, "dropout": config.dropout}
    if config.padding == "valid" and None in input_shape:
        raise ConfigError(
            f"an unpadded cfcn needs a fixed input size; got {input_shape[:-1]}. "
            "Use padding=same, or give the size."
        )
    if config.padding == "same":
        config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    organ = config.u_net(inputs, 2, prefix="organ_", **style)
    weight = region_weight(organ, name="organ_weight")
    seen, halo = inputs, 0
    if config.padding == "valid":
        seen = CropLike(name="centre")([inputs, organ])
        halo = (inputs.shape[1] - organ.shape[1]) // 2
    masked = keras.layers.Multiply(dtype="float32", name="masked")([seen, weight])
    cut, box = BoxCut(margin=config.margin, halo=halo, dtype="float32", name="box")(
        [masked, weight]
    )
    inner = config.u_net(cut, max(1, num_classes - (num_classes > 2)), prefix="lesion_", **style)
    inner = PasteLogits(dtype="float32", name="lesion_pasted")([inner, box, organ])
    inner = RegionGate(dtype="float32", name="lesion_gated")([inner, weight])
    logits = organ_and_inside(organ, inner) if num_classes > 2 else inner
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model(inputs, [logits, organ, inner], name="cfcn")


def organ_and_inside(organ: Any, inner: Any) -> Any:
    """Return log P(rest), log P(organ) P(healthy | organ), log P(organ) P(lesion | organ), ..."""
    organ = keras.layers.Activation("log_softmax", dtype="float32", name="organ_log")(organ)
    inner = keras.layers.Activation("log_softmax", dtype="float32", name="lesion_log")(inner)
    inside = keras.layers.Add(dtype="float32", name="inside_log")([organ[..., 1:], inner])
    return keras.layers.Concatenate(dtype="float32", name="joined_log")([organ[..., :1], inside])
