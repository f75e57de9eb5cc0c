"""What the detecting networks share: options, heads, and the way to what is inside their graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, model_validator

from tfseg.layers import (
    CropLike,
    Detections,
    PasteDetections,
    Proposals,
    RoiAlign,
    activate,
    conv,
    nearest_upsample,
    rank_of,
)
from tfseg.models.backbones import Features
from tfseg.models.config import ModelConfig

_WITHOUT_MASKS = 4  # inputs of the drawing layer: boxes, scores, classes, image
_QUIET = 0.01  # standard deviation of the first weights before logits and box changes

Sizes = Annotated[tuple[Annotated[float, Field(gt=0, le=64)], ...], Field(min_length=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class DetectorConfig(ModelConfig):
    """Options of all detecting networks.

    Attributes:
        base_filters: width of the encoder; all else scales with it.
        norm: in the encoder; ``frozen`` is batch normalisation that neither learns nor counts.
        activation: in the encoder.
        anchor_scales: edges of a level's anchors, in its stride.
        anchor_ratios: of an anchor's first axis to the others, at equal volume.
        candidates: best anchors of each level before suppression.
        proposals: boxes that are classified.
        detections: at most, in one patch.
        proposal_overlap: intersection over union above which the worse proposal is dropped.
        detection_overlap: the same for detections of one class.
        score_threshold: detections below count nothing.
        box_cells: a side of what the box head reads.
        max_objects: of a training patch; its largest ones.
        anchor_samples: anchors of a training patch that are learned from, half of them on
            objects at most.
        roi_samples: the same for proposals, a quarter of them on objects at most.
    """

    scheme: ClassVar[str] = "detection"
    has_mean: ClassVar[bool] = False

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    norm: Literal["instance", "batch", "none", "frozen"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    anchor_scales: Sizes = (3.0, 4.5)
    anchor_ratios: Sizes = (0.5, 1.0, 2.0)
    candidates: Annotated[int, Field(ge=1, le=4096)] = 64
    proposals: Annotated[int, Field(ge=1, le=4096)] = 64
    detections: Annotated[int, Field(ge=1, le=512)] = 16
    proposal_overlap: _Share = 0.7
    detection_overlap: _Share = 0.5
    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05
    box_cells: Annotated[int, Field(ge=1, le=64)] = 7
    max_objects: Annotated[int, Field(ge=1, le=255)] = 16
    anchor_samples: Annotated[int, Field(ge=2, le=4096)] = 256
    roi_samples: Annotated[int, Field(ge=4, le=4096)] = 64

    @model_validator(mode="after")
    def _counts_agree(self) -> DetectorConfig:
        for name in ("detections", "max_objects"):
            if getattr(self, name) > self.proposals:
                raise ValueError(
                    f"{name} must be at most proposals={self.proposals}; got {getattr(self, name)}"
                )
        if self.proposals > self.candidates:
            raise ValueError(
                f"proposals must be at most candidates={self.candidates}; got {self.proposals}"
            )
        return self

    @property
    def merges_classes(self) -> bool:
        """Whether the foreground is one class to the detector, which the masks divide."""
        return False

    @property
    def has_masks(self) -> bool:
        """Whether the network has masks, of which a run's loss is."""
        return True

    @property
    def width(self) -> int:
        """Channels of the pyramid, and of a mask head on it."""
        return 4 * self.base_filters

    @property
    def proposal_width(self) -> int:
        """Channels of the region proposal network."""
        return self.width

    @property
    def box_units(self) -> int:
        """Units of each dense layer of the box head."""
        return 16 * self.base_filters

    @property
    def encoder_norm(self) -> str:
        """What the encoder's blocks call the normalisation."""
        return "batch" if self.norm == "frozen" else self.norm


def pyramid(features: Features, strides: Sequence[int], config: DetectorConfig) -> list[Any]:
    """Build the feature pyramid: each level has the encoder's map and what all coarser ones add.

    Lin et al. 2016, arXiv:1612.03144: 1x1 convolutions, a sum with the coarser level repeated
    twice along each axis, and a 3x3 convolution.

    Returns:
        One map a stride, finest first, of ``config.width`` channels.
    """
    above, levels = None, []
    for stride in reversed(strides):
        name = f"pyramid_{stride}"
        x = conv(features.at(stride), filters=config.width, kernel=1, name=f"{name}_in")
        if above is not None:
            above = nearest_upsample(above, factor=2, name=f"{name}_up")
            above = CropLike(name=f"{name}_crop")([above, x])  # odd sizes
            x = keras.layers.Add(name=f"{name}_add")([x, above])
        above = x
        levels.append(conv(x, filters=config.width, name=f"{name}_out"))
    return levels[::-1]


def freeze_norms(model: Any) -> None:
    """Make every batch normalisation of a network a fixed scale and offset."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def propose(
    levels: Sequence[Any], strides: Sequence[int], image: Any, config: DetectorConfig
) -> Any:
    """Build the region proposal network, one for all levels: boxes (batch, proposals, 2 * rank).

    A 3x3 convolution, then objectness and box changes of every anchor (Ren et al. 2015).
    """
    rank, anchors = rank_of(image), len(config.anchor_scales) * len(config.anchor_ratios)
    layer = keras.layers.Conv2D if rank == 2 else keras.layers.Conv3D
    quiet = keras.initializers.RandomNormal(stddev=_QUIET)
    hidden = layer(
        config.proposal_width,
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name="rpn_conv",
    )
    final = {"kernel_size": 1, "kernel_initializer": quiet, "dtype": "float32"}
    objectness = layer(anchors, name="rpn_objectness", **final)
    changes = layer(anchors * 2 * rank, name="rpn_deltas", **final)
    features = [hidden(level) for level in levels]
    return Proposals(
        strides,
        config.anchor_scales,
        config.anchor_ratios,
        config.candidates,
        config.proposals,
        config.proposal_overlap,
        name="proposals",
    )([*map(objectness, features), *map(changes, features), image])


def detect(
    levels: Sequence[Any],
    strides: Sequence[int],
    proposals: Any,
    image: Any,
    classes: int,
    config: DetectorConfig,
) -> Any:
    """Build the box head: boxes, scores and classes of the detections.

    Two dense layers over ``box_cells`` an axis, then logits and box changes of every class, the
    background (0) among them.
    """
    x = RoiAlign(config.box_cells, strides, name="box_pool")([*levels, proposals])
    x = keras.layers.Reshape((config.proposals, -1), name="box_flat")(x)
    for number in (1, 2):
        name = f"box_dense{number}"
        x = keras.layers.Dense(config.box_units, kernel_initializer="he_normal", name=name)(x)
        x = activate(x, kind="relu", name=f"{name}_act")
    final = {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=_QUIET),
        "dtype": "float32",
    }
    logits = keras.layers.Dense(classes, name="box_classes", **final)(x)
    deltas = keras.layers.Dense(classes * 2 * rank_of(image), name="box_deltas", **final)(x)
    return Detections(config.detections, config.detection_overlap, name="detections")(
        [logits, deltas, proposals, image]
    )


@dataclass(frozen=True)
class Parts:
    """The tensors inside a detecting network that training and instances are made from.

    Attributes:
        image: the input.
        levels: feature maps the heads read.
        objectness: of every level, (batch, [z,] y, x, anchors).
        anchor_deltas: of every level, (batch, [z,] y, x, anchors * 2 * rank).
        proposals: (batch, n, 2 * rank).
        classes: class logits of the proposals, (batch, n, classes).
        box_deltas: of the proposals, (batch, n, classes * 2 * rank).
        detections: boxes, scores and classes.
        mask_levels: what masks are read from; empty without masks.
        mask_logits: of the detections, (batch, k, [cells,] cells, cells, classes), or ``None``.
        masks: what is drawn of them, probabilities, or ``None``.
        anchors: the layer that knows the anchors.
    """

    image: Any
    levels: list[Any]
    objectness: list[Any]
    anchor_deltas: list[Any]
    proposals: Any
    classes: Any
    box_deltas: Any
    detections: list[Any]
    mask_levels: list[Any]
    mask_logits: Any
    masks: Any
    anchors: Proposals


def is_detector(model: Any) -> bool:
    """Whether a network draws its label map from detections."""
    return any(isinstance(layer, PasteDetections) for layer in model.layers)


def parts_of(model: Any) -> Parts:
    """Return what a detecting network is made of, also after saving and loading."""
    proposals, detections = model.get_layer("proposals"), model.get_layer("detections")
    count = len(proposals.strides)
    drawn = model.get_layer("logits").input
    masks = len(drawn) > _WITHOUT_MASKS
    return Parts(
        image=proposals.input[-1],
        levels=list(model.get_layer("box_pool").input[:-1]),
        objectness=list(proposals.input[:count]),
        anchor_deltas=list(proposals.input[count : 2 * count]),
        proposals=proposals.output,
        classes=detections.input[0],
        box_deltas=detections.input[1],
        detections=list(detections.output),
        mask_levels=list(model.get_layer("mask_pool").input[:-1]) if masks else [],
        mask_logits=model.get_layer("mask_logits").output if masks else None,
        masks=drawn[3] if masks else None,
        anchors=proposals,
    )


def detection_model(model: Any) -> Any:
    """Return the network image -> its detections instead of the label map drawn from them.

    Returns:
        ``keras.Model`` with outputs boxes (batch, k, 2 * rank) in voxels, scores (batch, k) by
        falling score, classes (batch, k) float, and, where the network has masks, their
        probabilities (batch, k, [cells,] cells, cells, 1 or classes - 1).
    """
    parts = parts_of(model)
    masks = [] if parts.masks is None else [parts.masks]
    return keras.Model(model.input, [*parts.detections, *masks], name=f"{model.name}_detections")
