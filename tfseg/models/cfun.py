"""CFUN: Faster R-CNN and U-Net for the whole heart. Xu, Wu, Feng 2018, arXiv:1812.04914; 3D only.

A detector finds the heart, that is, everything that is not background, as one class: a
pseudo-3D residual encoder, a feature pyramid of strides 8 and 16, anchors of one ratio. Then a
3D U-Net reads the image itself in the box, at a fixed grid, and divides it into all classes. Its
answer is drawn back into the image. The U-Net is Isensee et al.'s 2017, arXiv:1802.10508, as the
authors' code has it: context blocks whose two convolutions share their weights, localisation
blocks, deep supervision by sums of 1x1 convolutions, instance normalisation without scale.

With ``faithful=True`` the widths are those of the authors' code: encoder 16, pyramid 128,
proposals 256, dense layers 1024, U-Net 20 on 96^3 cells in up to 15 boxes. The paper's loss of
the masks, cross-entropy with the difference of edges, is ``--set loss='ce + sobel_edge'``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import (
    ByBox,
    ForegroundMasks,
    InstanceNormalization,
    PasteDetections,
    RoiAlign,
    activate,
    conv,
    nearest_upsample,
)
from tfseg.models.backbones.features import Style
from tfseg.models.backbones.p3d import p3d_features
from tfseg.models.detector import (
    DetectorConfig,
    Sizes,
    detect,
    freeze_norms,
    propose,
    pyramid,
)

_STRIDES = (8, 16)
_STEPS = 4  # of the U-Net, each halving the grid


class CFUNConfig(DetectorConfig):
    """Options of :func:`build_cfun`.

    Attributes:
        dense_units: of each dense layer of the box head.
        mask_cells: a side of the U-Net's grid in a box; a multiple of 16, and 32 at least, so
            that the coarsest level has more than one voxel to normalise over.
        mask_filters: of the U-Net's finest level; each of the four below has twice as many.
        mask_dropout: share of a context block's channels that are dropped in training.
    """

    paper: ClassVar[dict[str, Any]] = {
        "activation": "relu",
        "norm": "batch",
        "anchor_scales": (8.0,),
        "box_cells": 12,
        "dense_units": 1024,
        "detections": 15,
        "max_objects": 15,
        "mask_cells": 96,
        "mask_filters": 20,
        "mask_dropout": 0.6,
    }

    base_filters: Annotated[int, Field(ge=1, le=256)] = 16
    anchor_scales: Sizes = (2.0, 3.0, 4.0)
    anchor_ratios: Sizes = (1.0,)
    detections: Annotated[int, Field(ge=1, le=512)] = 2
    max_objects: Annotated[int, Field(ge=1, le=255)] = 4
    dense_units: Annotated[int, Field(ge=1, le=4096)] = 128
    mask_cells: Annotated[int, Field(ge=32, le=512, multiple_of=16)] = 32
    mask_filters: Annotated[int, Field(ge=1, le=256)] = 8
    mask_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3

    @property
    def merges_classes(self) -> bool:
        """Whether the foreground is one class to the detector: yes."""
        return True

    @property
    def width(self) -> int:
        """Channels of the pyramid."""
        return 8 * self.base_filters

    @property
    def proposal_width(self) -> int:
        """Channels of the region proposal network."""
        return 16 * self.base_filters

    @property
    def box_units(self) -> int:
        """Units of each dense layer of the box head."""
        return self.dense_units


def build_cfun(input_shape: tuple[int | None, ...], num_classes: int, config: CFUNConfig) -> Any:
    """Build the network: image (batch, z, y, x, c) -> logits (batch, z, y, x, classes).

    Any input size fits.
    """
    inputs = keras.Input(input_shape, name="image")
    style = Style(_STRIDES[-1], config.base_filters, config.encoder_norm, config.activation, "p3d_")
    levels = pyramid(p3d_features(inputs, "p3d", style, bias=True), _STRIDES, config)
    proposals = propose(levels, _STRIDES, inputs, config)
    boxes, scores, values = detect(levels, _STRIDES, proposals, inputs, 2, config)
    # The image itself in each box: one interpolated value a cell. It has a name of its own because
    # Keras cannot take a model apart at an input and something else at once, as training does.
    image = keras.layers.Identity(name="mask_image")(inputs)
    x = RoiAlign(config.mask_cells, sampling=1, name="mask_pool")([image, boxes])
    x = keras.ops.reshape(x, (-1, *x.shape[2:]))  # (batch * n, cells, cells, cells, c)
    x = mask_unet(x, max(num_classes, 2), config.mask_filters, dropout=config.mask_dropout)
    masks = ForegroundMasks(name="masks")(ByBox(config.detections, name="mask_logits")(x))
    logits = PasteDetections(num_classes, config.score_threshold, name="logits")(
        [boxes, scores, values, masks, inputs]
    )
    model = keras.Model(inputs, logits, name="cfun")
    if config.norm == "frozen":
        freeze_norms(model)
    return model


def mask_unet(x: Any, num_classes: int, filters: int, *, dropout: float) -> Any:
    """Build the U-Net that divides a box: (n, z, y, x, c) -> logits (n, z, y, x, classes).

    Args:
        x: sizes divisible by 16.
        num_classes: of the logits.
        filters: of the finest level.
        dropout: share of channels.
    """
    x = _conv(x, filters, name="mask_context1_in")
    y = _conv(_act(x, "mask_context1_act1"), filters, name="mask_context1_1")
    y = _drop(y, dropout, "mask_context1_drop")
    y = _conv(_act(y, "mask_context1_act2"), filters, name="mask_context1_2")
    x = keras.layers.Add(name="mask_context1_add")([x, y])
    skips = [_act(x, "mask_context1_skip")]
    x = _norm_act(x, "mask_context1_out")
    for level in range(2, _STEPS + 2):
        width, name = filters * 2 ** (level - 1), f"mask_context{level}"
        x = _conv(x, width, stride=2, name=f"{name}_in")
        # One convolution, used twice.
        shared = keras.layers.Conv3D(
            width, 3, padding="same", use_bias=False, kernel_initializer="he_normal",
            name=f"{name}_shared",
        )  # fmt: skip
        y = _drop(shared(_norm_act(x, f"{name}_1")), dropout, f"{name}_drop")
        x = keras.layers.Add(name=f"{name}_add")([x, shared(_norm_act(y, f"{name}_2"))])
        if level <= _STEPS:
            x = _norm_act(x, f"{name}_out")
            skips.append(x)
    x = _up(x, filters * 2 ** (_STEPS - 1), "mask_up0")
    x = _norm_act(_conv(x, x.shape[-1], kernel=1, name="mask_up0_mix"), "mask_up0_mixed")
    sums = None
    for number, skip in enumerate(reversed(skips), start=1):
        name = f"mask_local{number}"
        x = keras.layers.Concatenate(name=f"{name}_concat")([x, skip])
        x = _norm_act(_conv(x, x.shape[-1], name=name), f"{name}_out")
        last = number == len(skips)
        if number > 1:
            head = _conv(x, num_classes, kernel=1, name=f"{name}_classes", dtype="float32")
            if sums is not None:
                sums = nearest_upsample(sums, factor=2, name=f"{name}_sum_up")
                head = keras.layers.Add(name=f"{name}_sum", dtype="float32")([head, sums])
            sums = head
        if not last:
            half = x.shape[-1] // 2
            x = _up(_conv(x, half, kernel=1, name=f"{name}_mix"), half // 2, f"mask_up{number}")
    return sums


def _conv(
    x: Any, filters: int, *, kernel: int = 3, stride: int = 1, dtype: str | None = None, name: str
) -> Any:
    return conv(
        x,
        filters=filters,
        kernel=kernel,
        stride=stride,
        padding="symmetric",
        bias=False,
        dtype=dtype,
        name=name,
    )


def _act(x: Any, name: str) -> Any:
    return activate(x, kind="leaky_relu", name=name)


def _norm_act(x: Any, name: str) -> Any:
    """Instance normalisation without scale and offset, then the activation."""
    return _act(InstanceNormalization(trainable=False, name=f"{name}_norm")(x), f"{name}_act")


def _drop(x: Any, rate: float, name: str) -> Any:
    return keras.layers.SpatialDropout3D(rate, name=name)(x) if rate else x


def _up(x: Any, filters: int, name: str) -> Any:
    x = nearest_upsample(_norm_act(x, f"{name}_in"), factor=2, name=f"{name}_repeat")
    return _norm_act(_conv(x, filters, name=name), f"{name}_out")
