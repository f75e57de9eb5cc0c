"""Cascaded V-Nets. Casamitjana et al. 2017, arXiv:1812.11588; 3D, and the same in 2D.

The first network finds the region (whole tumour against all else), the second one its parts. The
second's foreground is multiplied by the region ("ROI layer"), so that it is zero outside. Here the
region counts by how much likelier it is than the rest (:func:`tfseg.layers.region_weight`): zero
exactly where the first network says rest, and without the jump of a hard mask, which rounding
would make differ from one runtime to the next. No gradient of the second network's loss flows
into the first through it.

With ``faithful=True`` both are V-Nets of 3x3x3 convolutions with batch normalisation and PReLU. The
default has instance normalisation.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from tfseg.layers import RegionGate, region_weight
from tfseg.models.cascade import CascadeConfig, foreground_group, sub_network
from tfseg.models.config import Stage
from tfseg.models.vnet import VNetConfig


class CascadedVNetConfig(CascadeConfig, VNetConfig):
    """Options of :func:`build_cascaded_vnet`: those of each V-Net, and the cascade's."""

    paper: ClassVar[dict[str, Any]] = {"norm": "batch"}

    def training_stages(self) -> tuple[Stage, ...]:
        """Return the region's stage, then the labels'."""
        return self.ordered([("region_", 1), ("labels_", 0)], outputs=2)

    def label_groups(self, num_classes: int) -> tuple[tuple[int, ...] | None, ...]:
        """Return that the region is all foreground."""
        return (None, foreground_group(num_classes))


def build_cascaded_vnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: CascadedVNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> [logits, the region's logits].

    The logits are (batch, [z,] y, x, classes), the region's have two classes.

    Raises:
        ConfigError: an input size that the strides do not divide.
    """
    options = config.model_dump(include=set(VNetConfig.model_fields))
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    region = sub_network(inputs, "vnet", 2, prefix="region_", **options)
    labels = sub_network(inputs, "vnet", num_classes, prefix="labels_", **options)
    weight = region_weight(region, name="region_weight")
    logits = RegionGate(dtype="float32", name="logits")([labels, weight])
    return keras.Model(inputs, [logits, region], name="cascaded_vnet")
