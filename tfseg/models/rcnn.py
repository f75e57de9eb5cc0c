"""Faster R-CNN and Mask R-CNN on a feature pyramid, in 2D and 3D from one source.

Ren, He, Girshick, Sun 2015, arXiv:1506.01497; He, Gkioxari, Dollar, Girshick 2017,
arXiv:1703.06870; the pyramid is Lin et al.'s 2016, arXiv:1612.03144. A region proposal network
ranks anchors on every level; the best boxes are read from the pyramid, classified, refined,
suppressed; Mask R-CNN predicts a mask of each class in each remaining box.

What leaves the network is a label map like any other network's: detections drawn by falling
score, with Mask R-CNN their masks, with Faster R-CNN their boxes, filled. The detections
themselves are inside the graph, and so is what training needs: see tfseg.models.detector. From a
run, ``tfseg predict`` writes them, too; exports answer with the label map alone.

With ``faithful=True``: ResNet-50 with frozen batch normalisation, levels of strides 4 to 32 and
one pooled from the last for proposals, anchors of 32 to 512 voxels in 3 ratios, heads as in
torchvision's ``fasterrcnn_resnet50_fpn`` and ``maskrcnn_resnet50_fpn``; but there training has
twice as many proposals. The default form is narrower, with instance normalisation in the
encoder, and has smaller anchors, because organs are smaller than street scenes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import (
    ByBox,
    OwnMask,
    PasteDetections,
    RoiAlign,
    activate,
    conv,
    downsample,
    transposed_conv,
)
from tfseg.models.backbones import EncoderName, encoder
from tfseg.models.detector import DetectorConfig, detect, freeze_norms, propose, pyramid

_FINEST = 4  # stride of the pyramid's first level


class FasterRCNNConfig(DetectorConfig):
    """Options of :func:`build_faster_rcnn`.

    Attributes:
        backbone: the encoder.
        levels: of the pyramid, with strides 4, 8, ...
        pooled_level: propose on one more level, every second voxel of the last.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "resnet50",
        "base_filters": 64,
        "norm": "frozen",
        "activation": "relu",
        "levels": 4,
        "pooled_level": True,
        "anchor_scales": (8.0,),
        "candidates": 1000,
        "proposals": 1000,
        "detections": 100,
        "max_objects": 100,
        "roi_samples": 512,
    }

    backbone: EncoderName = "resnet18"
    levels: Annotated[int, Field(ge=1, le=4)] = 3
    pooled_level: bool = False

    @property
    def has_masks(self) -> bool:
        """Whether the network has masks: no."""
        return False

    @property
    def strides(self) -> tuple[int, ...]:
        """Voxels a cell of each level, finest first."""
        return tuple(_FINEST * 2**level for level in range(self.levels))


class MaskRCNNConfig(FasterRCNNConfig):
    """Options of :func:`build_mask_rcnn`.

    Attributes:
        mask_cells: a side of what the mask head reads; masks have twice as many.
        mask_convs: 3x3 convolutions of the mask head.
    """

    paper: ClassVar[dict[str, Any]] = {
        **FasterRCNNConfig.paper,
        "mask_cells": 14,
        "mask_convs": 4,
    }

    mask_cells: Annotated[int, Field(ge=2, le=64)] = 12
    mask_convs: Annotated[int, Field(ge=0, le=16)] = 2

    @property
    def has_masks(self) -> bool:
        """Whether the network has masks: yes."""
        return True


def build_faster_rcnn(
    input_shape: tuple[int | None, ...], num_classes: int, config: FasterRCNNConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits. The detections' boxes are filled.
    """
    inputs = keras.Input(input_shape, name="image")
    _, found = _boxes(inputs, max(num_classes, 2), config)
    logits = PasteDetections(num_classes, config.score_threshold, name="logits")([*found, inputs])
    return _model(inputs, logits, config, "faster_rcnn")


def build_mask_rcnn(
    input_shape: tuple[int | None, ...], num_classes: int, config: MaskRCNNConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits. Masks have ``2 * mask_cells`` a side, whatever the size of their box.
    """
    inputs = keras.Input(input_shape, name="image")
    classes = max(num_classes, 2)
    levels, found = _boxes(inputs, classes, config)
    boxes, scores, values = found
    logits = _mask_logits(levels, boxes, classes, config)
    masks = OwnMask(name="masks")([logits, values])
    logits = PasteDetections(num_classes, config.score_threshold, name="logits")(
        [boxes, scores, values, masks, inputs]
    )
    return _model(inputs, logits, config, "mask_rcnn")


def _model(inputs: Any, logits: Any, config: FasterRCNNConfig, name: str) -> Any:
    model = keras.Model(inputs, logits, name=name)
    if config.norm == "frozen":
        freeze_norms(model)
    return model


def _boxes(inputs: Any, classes: int, config: FasterRCNNConfig) -> tuple[list[Any], Any]:
    """Return the pyramid's levels that heads read; boxes, scores and classes found."""
    strides = config.strides
    features = encoder(
        inputs,
        config.backbone,
        output_stride=strides[-1],
        base_filters=config.base_filters,
        norm=config.encoder_norm,
        activation=config.activation,
    )
    levels = pyramid(features, strides, config)
    proposing = list(levels)
    if config.pooled_level:
        proposing.append(
            downsample(levels[-1], stride=2, size=1, padding="same", name="level_pooled")
        )
        strides = (*strides, 2 * strides[-1])
    proposals = propose(proposing, strides, inputs, config)
    return levels, detect(levels, config.strides, proposals, inputs, classes, config)


def _mask_logits(levels: list[Any], boxes: Any, classes: int, config: MaskRCNNConfig) -> Any:
    """Return a mask of every class in every box, (batch, n, [cells,] cells, cells, classes)."""
    x = RoiAlign(config.mask_cells, config.strides, name="mask_pool")([*levels, boxes])
    x = keras.ops.reshape(x, (-1, *x.shape[2:]))  # (batch * n, [cells,] cells, cells, c)
    for number in range(config.mask_convs):
        name = f"mask_conv{number + 1}"
        x = conv(x, filters=config.width, name=name)
        x = activate(x, kind="relu", name=f"{name}_act")
    x = transposed_conv(x, filters=config.width, stride=2, name="mask_up")
    x = activate(x, kind="relu", name="mask_up_act")
    x = conv(x, filters=classes, kernel=1, variance=0.1, dtype="float32", name="mask_classes")
    return ByBox(config.detections, name="mask_logits")(x)
