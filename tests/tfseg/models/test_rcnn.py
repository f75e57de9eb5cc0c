"""Faster and Mask R-CNN: published counts, levels, the label map drawn from detections."""

import math

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models import build, inference_model, model_config
from tfseg.models.detector import detection_model, is_detector, parts_of

TINY = {
    "base_filters": 4, "box_cells": 3, "candidates": 32, "proposals": 16, "detections": 4,
    "max_objects": 4,
}  # fmt: skip


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build(*args, **options)


def trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


# Convolutions of ResNet-50 (its 23,508,032 less 26,560 scales and as many offsets), which are
# all that learns under frozen normalisation; 1x1 and 3x3 of four levels; 3x3, 3 scores and 12
# box changes; two dense layers over 7 x 7 x 256, 91 classes with a box each.
TRUNK = 23_508_032 - 2 * 26_560
PYRAMID = (256 + 512 + 1024 + 2048 + 4) * 256 + 4 * (9 * 256 + 1) * 256
PROPOSING = (9 * 256 + 1) * 256 + 257 * 3 + 257 * 12
BOX_HEAD = (49 * 256 + 1) * 1024 + 1025 * 1024 + 1025 * 91 + 1025 * 4 * 91
# Four 3x3, one 2x2 transposed, one 1x1 convolution.
MASK_HEAD = 4 * (9 * 256 + 1) * 256 + (4 * 256 + 1) * 256 + 257 * 91


@pytest.mark.parametrize(
    ("name", "published", "parts"),
    [
        ("faster_rcnn", 41_755_286, TRUNK + PYRAMID + PROPOSING + BOX_HEAD),
        ("mask_rcnn", 44_401_393, TRUNK + PYRAMID + PROPOSING + BOX_HEAD + MASK_HEAD),
    ],
)
def test_paper_form(name, published, parts):
    """torchvision's fasterrcnn_resnet50_fpn and maskrcnn_resnet50_fpn with 91 classes."""
    model = without_numbers(name, (800, 800, 3), 91, faithful=True)
    assert trainable(model) == published == parts
    assert model.output.shape == (None, 800, 800, 91)
    found = parts_of(model)
    assert [level.shape[1:] for level in found.levels] == [(n, n, 256) for n in (200, 100, 50, 25)]
    assert [level.shape[1] for level in found.objectness] == [200, 100, 50, 25, 13]
    # Anchors of 32 to 512 voxels, one size a level, three ratios.
    first = np.asarray(found.anchors.anchors([(1, 1)] * 5)).reshape(5, 3, 2, 2)
    areas = np.prod(first[:, :, 1] - first[:, :, 0], axis=-1)
    np.testing.assert_allclose(areas, [[n**2] * 3 for n in (32, 64, 128, 256, 512)], rtol=1e-5)
    if name == "mask_rcnn":
        assert found.mask_logits.shape == (None, 100, 28, 28, 91)


def test_frozen_normalisation_stays_frozen_through_a_file(tmp_path):
    model = build("faster_rcnn", (32, 32, 1), 2, norm="frozen", **TINY)
    norms = [la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)]
    assert norms
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    for network in (model, again):
        assert not any("norm" in weight.path for weight in network.trainable_weights)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn"])
def test_the_label_map_is_that_of_the_detections(name, rank):
    """Every voxel has the class of the first detection that covers it well enough, by hand."""
    keras.utils.set_random_seed(0)
    size = (9, 12, 8) if rank == 3 else (20, 24)
    model = build(name, (*size, 1), 3, **TINY, norm="none", score_threshold=0.0)
    assert is_detector(model)
    x = np.random.default_rng(0).normal(size=(1, *size, 1)).astype(np.float32) * 3
    boxes, scores, classes, *masks = (np.asarray(part)[0] for part in detection_model(model)(x))
    assert (np.diff(scores) <= 0).all()
    assert set(classes) <= {1, 2}
    assert (boxes[:, :rank] >= 0).all()
    assert (boxes[:, rank:] <= size).all()
    chances = np.zeros((*size, 3))
    chances[..., 0] = 1
    for k in range(len(scores)):
        cover = np.asarray([cover_of(v, boxes[k], masks, k) for v in np.ndindex(size)])
        share = scores[k] * cover.reshape(size) * chances[..., 0]
        chances[..., int(classes[k])] += share
        chances[..., 0] -= share
    logits = np.asarray(inference_model(model)(x))[0].astype(float)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(probabilities, chances, atol=1e-4)


def cover_of(voxel, box, masks, number):
    """How much of a voxel a detection covers: the box's share of it, or the mask in its middle."""
    rank = len(voxel)
    low, high = box[:rank], box[rank:]
    if not masks:
        sides = np.minimum(high, np.add(voxel, 1)) - np.maximum(low, voxel)
        return np.prod(np.maximum(sides, 0))
    mask = masks[0][number, ..., 0]
    place = (np.add(voxel, 0.5) - low) / np.maximum(high - low, 1e-3) * len(mask) - 0.5
    total = 0.0
    for corner in np.ndindex((2,) * rank):
        cell = np.floor(place).astype(int) + corner
        if (cell >= 0).all() and (cell < len(mask)).all():
            total += mask[tuple(cell)] * np.prod(1 - np.abs(place - cell))
    return total


def test_instances_come_back_from_a_file(tmp_path):
    model = inference_model(build("mask_rcnn", (24, 24, 1), 3, **TINY))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    x = np.random.default_rng(0).normal(size=(2, 24, 24, 1)).astype(np.float32)
    expected, answer = detection_model(model)(x), detection_model(again)(x)
    assert [part.shape for part in answer] == [(2, 4, 4), (2, 4), (2, 4), (2, 4, 24, 24, 1)]
    for one, other in zip(expected, answer, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["unet", "attn_guided_unet"])
def test_other_networks_are_no_detectors(name):
    assert not is_detector(without_numbers(name, (32, 32, 1), 2, base_filters=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detections": 65}, r"detections must be at most proposals=64; got 65"),
        ({"max_objects": 65}, r"max_objects must be at most proposals=64; got 65"),
        ({"proposals": 65}, r"proposals must be at most candidates=64; got 65"),
        ({"anchor_scales": ()}, r"anchor_scales: .*at least 1 item"),
        ({"anchor_ratios": (0,)}, r"anchor_ratios.0: .*greater than 0; got 0"),
        ({"detection_overlap": 1.0}, r"detection_overlap: .*less than 1; got 1.0"),
        ({"levels": 5}, r"levels: .*less than or equal to 4; got 5"),
        ({"norm": "layer"}, r"norm: .*'frozen'; got 'layer'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        model_config("mask_rcnn", **options)
