"""Detect, then segment: a coarse network finds the box that a second one segments; 2D and 3D.

After Ke et al. 2019, arXiv:1906.12177, and He et al. 2018, who cut regions out before they
segment them. The recipe is ours: a U-Net on the reduced image finds the foreground; the box around
it, with a margin, is resized to a fixed size for the second U-Net; its answer is resized back
into the box, with background outside. Small objects fill the second network's view. The box is
found by the graph itself; no gradient flows into it. ``stages=joint`` trains both tasks at once.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import BoxCut, PasteLogits, region_weight
from tfseg.models.cascade import UCascadeConfig, check_cut, foreground_group, reduce
from tfseg.models.config import Stage


class DetectThenSegmentConfig(UCascadeConfig):
    """Options of :func:`build_detect_then_segment`.

    Attributes:
        reduction: factor by which the detector's image is smaller, along each axis.
        margin: around the box on each side, as a share of its edge.
        size: voxels along each axis to which the box is resized; cut to the input's. ``None`` is
            the input's.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu", "pooling": "max"}

    reduction: Annotated[int, Field(ge=1, le=8)] = 2
    margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    size: tuple[Annotated[int, Field(ge=1)], ...] | None = None

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis must be divisible by: the detector's image is reduced."""
        return tuple(self.reduction * factor for factor in super().divisor(rank))

    def training_stages(self) -> tuple[Stage, ...]:
        """Return the detector's stage, then the segmenter's."""
        return self.ordered([("detector_", 1), ("segmenter_", 0)], outputs=2)

    def label_groups(self, num_classes: int) -> tuple[tuple[int, ...] | None, ...]:
        """Return that the detector finds all foreground."""
        return (None, foreground_group(num_classes))


def build_detect_then_segment(
    input_shape: tuple[int | None, ...], num_classes: int, config: DetectThenSegmentConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> [logits, the detector's logits].

    The logits are (batch, [z,] y, x, classes), the detector's have two classes, on its reduced
    grid.

    Raises:
        ConfigError: an input or cut size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    multiple = UCascadeConfig.divisor(config, len(input_shape) - 1)
    check_cut(config.size, multiple, "size")
    inputs = keras.Input(input_shape, name="image")
    reduced = reduce(inputs, config.reduction, name="detector_image")
    found = config.u_net(reduced, 2, prefix="detector_")
    weight = region_weight(found, name="region_weight")
    cut, box = BoxCut(config.size, multiple, margin=config.margin, dtype="float32", name="box")(
        [inputs, weight]
    )
    answer = config.u_net(cut, num_classes, prefix="segmenter_")
    logits = PasteLogits(dtype="float32", name="logits")([answer, box, inputs])
    return keras.Model(inputs, [logits, found], name="detect_then_segment")
