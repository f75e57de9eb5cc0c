"""One line an architecture: the cheapest form that still has all its parts, training heads too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tfseg.artifact import Manifest
from tfseg.models import MODELS, build, model_config
from tfseg.plan import Plan


@dataclass(frozen=True)
class Case:
    """How an architecture goes through the promises.

    Attributes:
        options: of the network; tiny widths.
        edge: input edge length: divisible by the network's divisor, and large enough that every
            level has more than one voxel.
        faithful: start from the paper's form, for parts that only it has.
        learning_rate: of the thirty steps that must halve the loss.
    """

    options: dict[str, Any] = field(default_factory=dict)
    edge: int = 16
    faithful: bool = False
    learning_rate: float = 1e-2


_FEW_BOXES = {"candidates": 32, "proposals": 32, "detections": 4, "max_objects": 4}

CASES: dict[str, Case] = {
    "unet": Case({"base_filters": 4, "depth": 4}),
    "fcn32s": Case({"base_filters": 4, "fc_factor": 4, "upsampling": "learned"}, edge=64),
    "fcn16s": Case({"base_filters": 4, "fc_factor": 4}, edge=64),
    "fcn8s": Case({"base_filters": 4, "fc_factor": 4}, edge=64),
    "tran_fcn": Case({"base_filters": 4}),
    "nie_fcn3d": Case({"base_filters": 4, "fusion": "branch"}),
    "dilated_fcn_ild": Case({"base_filters": 4, "rates": (1, 1, 2, 3, 5)}),
    "fcn_preproc_resnet": Case({"base_filters": 4, "blocks": (1, 2, 1)}, edge=32),
    "deeplabv1": Case({"base_filters": 4, "fc_factor": 4}),
    "deeplabv2": Case({"base_filters": 4}),
    "deeplabv3": Case({"base_filters": 4}),
    "deeplabv3plus": Case({"base_filters": 4}),
    "pspnet": Case({"base_filters": 4, "backbone": "resnet18"}),
    "res_unet": Case({"base_filters": 4, "depth": 3}),
    "multiresunet": Case({"base_filters": 8, "depth": 3}),
    "multiresunet3d": Case({"base_filters": 8, "depth": 3}),
    "attention_unet": Case({"base_filters": 4, "depth": 4, "gate": "multi"}),
    "attn_guided_unet": Case({"base_filters": 4, "depth": 3}, edge=32),
    "attention_dense_unet": Case({"base_filters": 4, "norm": "batch"}, edge=64),
    "use_net": Case({"base_filters": 8, "depth": 3, "reduction": 1}),
    "inverted_net": Case({"finest_filters": 8, "coarsest_filters": 4, "depth": 4}),
    "all_dropout": Case({"base_filters": 4, "depth": 3}),
    "all_convolutional": Case({"base_filters": 4, "depth": 3}),
    "pixelbnn": Case({"base_filters": 4}),
    "vessel_ds_unet": Case({"base_filters": 4, "depth": 3}),
    "lu_net": Case({"base_filters": 4, "depth": 3, "squeeze": True, "image_pyramid": True}),
    "lazy_multitask_unet": Case({"base_filters": 4, "depth": 3}),
    "refinenet": Case({"base_filters": 4}, edge=64),
    "acnn": Case({"base_filters": 8, "blocks": 3}),
    "gcn": Case({"base_filters": 4, "width": 4, "kernel": 3}, edge=64),
    "fcn_ppm_3d": Case({"base_filters": 4}),
    "segnet": Case({"base_filters": 4, "stages": 3}),
    "segnet_basic": Case({"base_filters": 4, "stages": 3, "kernel": 3}),
    "deconvnet": Case({"base_filters": 4, "stages": 3, "fc_factor": 4}),
    "fc_densenet56": Case({"base_filters": 8, "blocks": (1, 2, 2, 2, 1), "growth": 4}),
    "fc_densenet67": Case({"base_filters": 8, "blocks": (2, 1, 2), "growth": 4}),
    "fc_densenet103": Case({"base_filters": 8, "blocks": (1, 1, 2, 1, 1), "growth": 4}),
    "dense_unet3d": Case({"base_filters": 4, "depth": 3}),
    "drinet": Case({"base_filters": 8, "growth": (2, 4, 8), "norm": "batch"}),
    "h_denseunet": Case(
        {"base_filters": 4, "blocks_2d": (1, 2), "blocks_3d": (1, 2), "norm": "instance"}
    ),
    "unet3d": Case({"base_filters": 2}),
    "sulci_unet3d": Case({"base_filters": 2}),
    "unet3d_ds": Case({"base_filters": 4, "depth": 4}),
    "vnet": Case({"base_filters": 4, "encoder": (1, 2, 2), "decoder": (2, 1)}),
    # Not 16: on a coarsest map of 2 x 2 x 2 voxels TensorFlow 2.21's fused 3D convolution and sum
    # (oneDNN) crashes, a defect of the library that tiny patches alone meet.
    "segresnet": Case({"base_filters": 4}, edge=32),
    # At 1e-2 its loss jumps to 3e5 in the fourth step and stays above where it began.
    "segresnet_vae": Case({"base_filters": 4, "latent": 8}, edge=32, learning_rate=3e-3),
    "nonlocal_unet": Case({"base_filters": 4}),
    "kidnet": Case({"base_filters": 4, "depth": 4}),
    "fracnet": Case({"base_filters": 4}),
    "han_dcnn25d": Case({"base_filters": 4, "depth": 3, "stages": "joint"}),
    "fcn_2p5d": Case({"base_filters": 2, "fc_factor": 2, "vote": "majority"}, edge=64),
    "autocontext": Case({"base_filters": 4, "stage_options": {"depth": 3}, "stages": "joint"}),
    "cascaded_vnet": Case(
        {"base_filters": 4, "encoder": (1, 2, 2), "decoder": (2, 1), "stages": "joint"}
    ),
    "cfcn": Case({"base_filters": 4, "depth": 3, "stages": "joint"}),
    "unet3d_two_stage": Case({"base_filters": 4, "depth": 3, "stages": "joint"}, edge=32),
    "detect_then_segment": Case({"base_filters": 4, "depth": 3, "stages": "joint"}, edge=32),
    # At 1e-2 its loss falls to a quarter and rises again. Longer training is tested on Mask R-CNN,
    # which has the same two stages: tests/tfseg/training/test_detection.py.
    "faster_rcnn": Case(
        {"base_filters": 4, "box_cells": 3, **_FEW_BOXES}, edge=32, learning_rate=5e-4
    ),
    "mask_rcnn": Case(
        {
            "base_filters": 4,
            "box_cells": 3,
            "mask_cells": 4,
            "anchor_ratios": (1.0,),
            **_FEW_BOXES,
        },
        edge=32,
    ),
    "cfun": Case(
        {"base_filters": 2, "mask_cells": 32, "mask_filters": 2, "box_cells": 3, **_FEW_BOXES},
        edge=32,
    ),
}

SEGMENTERS = {name: info for name, info in MODELS.items() if info.kind == "segmentation"}
NETWORKS = [(name, rank) for name, info in SEGMENTERS.items() for rank in info.dims]

# One of each family goes through the cheapest promises every time; `make conformance` sends all.
EVERY_TIME = {"unet", "pspnet", "fcn8s", "segnet", "attention_unet", "vnet", "kidnet", "acnn"}


def marks_of(name: str) -> tuple[Any, ...]:
    """Return what marks the tests of a network that is not tested every time."""
    return () if name in EVERY_TIME else (pytest.mark.slow,)


every_network = pytest.mark.parametrize(
    ("name", "rank"),
    [
        pytest.param(name, rank, id=f"{name}-{rank}d", marks=marks_of(name))
        for name, rank in NETWORKS
    ],
)


def promise(name: str) -> Any:
    """Mark a test with the column of the matrix it fills."""
    return pytest.mark.promise(name)


def small(name: str, shape: Sequence[int | None], classes: int = 2, **options: Any) -> Any:
    """Build the tiny form of a network with seeded weights."""
    import keras

    keras.utils.set_random_seed(0)
    case = CASES[name]
    return build(
        name, tuple(shape), classes, **{**case.options, "faithful": case.faithful, **options}
    )


def shape_of(name: str, rank: int, channels: int = 1) -> tuple[int, ...]:
    """The input shape that the case says."""
    return (*(CASES[name].edge,) * rank, channels)


def manifest_of(name: str, rank: int) -> Manifest:
    """A run's manifest: windows of the case's size, intensities and grid left as they are."""
    plan = Plan.model_validate(
        {
            "dims": rank,
            "spacing_mm": None,
            "patch_size": shape_of(name, rank)[:-1],
            "batch_size": 1,
            "channels": [{"name": "image", "normalisation": {"kind": "scale"}}],
            "labels": ("background", "organ"),
        }
    )
    return Manifest(format="run", model=name, config={}, plan=plan)


def divisor_of(name: str, rank: int) -> tuple[int, ...]:
    """What the tiny form's input must be divisible by."""
    case = CASES[name]
    return model_config(name, **{**case.options, "faithful": case.faithful}).divisor(rank)


def training_of(name: str, classes: int = 2) -> tuple[Sequence[float], list[Any]]:
    """Loss weights of a network's outputs, all trained at once, and the labels' groups of each."""
    case = CASES[name]
    config = model_config(name, **{**case.options, "faithful": case.faithful})
    stages, weights = config.training_stages(), MODELS[name].loss_weights
    groups = config.label_groups(classes) or (None,) * len(weights)
    return stages[0].loss_weights if stages else weights, list(groups)


def learned_by(name: str, model: Any, classes: int = 2) -> Any:
    """Return the trainer's loss of a network, (images, labels) -> (batch,)."""
    from tfseg.losses import build_loss
    from tfseg.losses.loss import supervised_loss
    from tfseg.schemes.detection_loss import DetectionObjective

    case, loss = CASES[name], build_loss("dice + ce")
    config = model_config(name, **{**case.options, "faithful": case.faithful})
    if config.scheme == "detection":
        objective = DetectionObjective(model, config, loss)
        return lambda x, labels: objective(_with_objects(config, x, labels))
    weights, groups = training_of(name, classes)

    def supervised(x: Any, labels: Any) -> Any:
        outputs = outputs_of(model(x, training=True))
        return supervised_loss(loss, labels, outputs, weights, groups=groups)

    return supervised


def _with_objects(config: Any, x: Any, labels: Any) -> dict[str, Any]:
    """A batch with what a detector learns of it, also inside a graph."""
    import tensorflow as tf

    from tfseg.schemes.detection import with_objects

    most, merged = config.max_objects, config.merges_classes
    kinds = {"objects": "uint8", "boxes": "float32", "classes": "int32", "seed": "int32"}

    def look(x: Any, labels: Any) -> list[Any]:
        found = [
            with_objects({"image": one, "label": label}, most, merged=merged)
            for one, label in zip(x, labels, strict=True)
        ]
        return [np.stack([one[name] for one in found]) for name in kinds]

    parts = tf.numpy_function(look, [x, labels], [tf.as_dtype(kind) for kind in kinds.values()])
    rank, batch = len(labels.shape) - 1, labels.shape[0]
    shapes = (labels.shape, (batch, most, 2 * rank), (batch, most), (batch,))
    for part, shape in zip(parts, shapes, strict=True):
        part.set_shape(shape)
    return {"image": x, "label": labels, **dict(zip(kinds, parts, strict=True))}


def images(shape: Sequence[int], batch: int = 1, seed: int = 0) -> np.ndarray:
    """Normal noise (batch, *shape) float32."""
    return np.random.default_rng(seed).normal(size=(batch, *shape)).astype(np.float32)


def outputs_of(answer: Any) -> list[Any]:
    """One output or several, as a list."""
    return list(answer) if isinstance(answer, list | tuple) else [answer]


def counted(name: str, shape: Sequence[int | None], classes: int, **options: Any) -> Any:
    """Build a network without numbers in its weights: for shapes and counts only."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        return build(name, tuple(shape), classes, **options)


def field_of_view(model: Any, *size: int) -> tuple[int, ...]:
    """How many voxels along each axis the centre voxel's logits depend on.

    By the gradient, with all kernels positive so that nothing cancels. Needs a network of
    convolutions and activations only.
    """
    import tensorflow as tf

    for weight in model.trainable_weights:
        weight.assign(np.full(weight.shape, 1.0 / np.prod(weight.shape[:-1])))
    image = tf.ones((1, *size, model.inputs[0].shape[-1]))
    with tf.GradientTape() as tape:
        tape.watch(image)
        centre = outputs_of(model(image))[0][(0, *(n // 2 for n in size))]
    touched = np.argwhere(tape.gradient(centre, image).numpy()[0, ..., 0])
    return tuple(int(n) for n in np.ptp(touched, axis=0) + 1)
