"""What a detector learns from a patch, against assignments worked by hand."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfseg.layers.boxes import encode_boxes
from tfseg.losses import build_loss
from tfseg.models import build, model_config
from tfseg.models.detector import detection_model
from tfseg.schemes.detection import with_objects
from tfseg.schemes.detection_loss import DetectionObjective, _anchor_loss, _roi_loss, _strongest

TINY = {
    "base_filters": 4, "box_cells": 3, "candidates": 32, "proposals": 32, "detections": 4,
    "max_objects": 4,
}  # fmt: skip


def softplus(x):
    return np.log1p(np.exp(x))


def test_anchors_learn_by_overlap():
    """One object of 8 x 8: an exact anchor, one of overlap 0.5, one beside it."""
    boxes = tf.constant([[[0.0, 0, 8, 8], [0, 0, 0, 0]]])
    anchors = tf.constant([[0.0, 0, 8, 8], [0, 0, 8, 4], [20, 20, 28, 28]])
    scores = tf.constant([[1.0, 5.0, -2.0]])
    noise = tf.constant([[0.3, 0.2, 0.1]])
    loss = _anchor_loss(scores, tf.zeros((1, 3, 4)), anchors, boxes, noise, 4)
    # The first is on the object, the last on none, the middle one is not used.
    np.testing.assert_allclose(loss, [(softplus(-1.0) + softplus(-2.0)) / 2], rtol=1e-5)
    # One in x off by half its size: |0.5| - beta / 2 more, over two anchors.
    wrong = tf.constant([[[0.0, 0.5, 0, 0], [9, 9, 9, 9], [9, 9, 9, 9]]])
    more = _anchor_loss(scores, wrong, anchors, boxes, noise, 4) - loss
    np.testing.assert_allclose(more, [(0.5 - 1 / 18) / 2], rtol=1e-5)


def test_an_objects_best_anchor_is_on_it_however_little_it_overlaps():
    boxes = tf.constant([[[0.0, 0, 8, 8]]])
    anchors = tf.constant([[0.0, 0, 2, 2], [20, 20, 28, 28]])
    loss = _anchor_loss(
        tf.constant([[9.0, -9.0]]), encode_boxes(boxes, anchors, (1.0, 1.0)), anchors, boxes,
        tf.constant([[0.1, 0.2]]), 4,
    )  # fmt: skip
    assert float(loss[0]) < 1e-3


def test_proposals_learn_class_and_box_of_their_object():
    boxes = tf.constant([[[0.0, 0, 8, 8], [10, 10, 14, 14]]])
    rois = tf.constant([[[0.0, 0, 8, 8], [10, 10, 14, 14], [0, 10, 4, 14], [0, 0, 8, 3]]])
    logits = tf.constant([[[0.0, 0, 0]] * 4])
    noise = tf.constant([[0.4, 0.3, 0.2, 0.1]])
    loss, overlap, match = _roi_loss(
        logits, tf.zeros((1, 4, 12)), rois, boxes, tf.constant([[2, 1]]), noise, 8
    )
    # All four are sampled, each one of three equal classes.
    np.testing.assert_allclose(loss, [np.log(3)], rtol=1e-5)
    np.testing.assert_array_equal(overlap, [[1, 1, 0, 0]])
    np.testing.assert_array_equal(match[0, :2], [0, 1])
    sure = tf.constant([[[0.0, 0, 50], [0, 50, 0], [50, 0, 0], [50, 0, 0]]])
    loss, _, _ = _roi_loss(sure, tf.zeros((1, 4, 12)), rois, boxes, tf.constant([[2, 1]]), noise, 8)
    np.testing.assert_allclose(loss, [0], atol=1e-6)


def test_samples_are_those_with_most_noise():
    mask = tf.constant([[True, False, True, True], [False, False, False, True]])
    noise = tf.constant([[0.1, 0.9, 0.5, 0.3], [0.4, 0.3, 0.2, 0.1]])
    kept = _strongest(mask, noise, tf.constant([2, 3]), 3)
    np.testing.assert_array_equal(kept, [[0, 0, 1, 1], [0, 0, 0, 1]])


def discs(count, seed, size=48, classes=2):
    """Noisy images of two or three separate discs (class 1, bright) and squares (2, brighter)."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1)
    images, labels = [], []
    for _ in range(count):
        label = np.zeros((size, size), np.int32)
        for _ in range(rng.integers(2, 4)):
            centre, radius = rng.uniform(7, size - 7, 2), rng.uniform(4, 7)
            value = rng.integers(1, classes + 1)
            way = np.abs(grid - centre)
            inside = (way.max(-1) if value == 2 else np.linalg.norm(way, axis=-1)) < radius
            near = way.max(-1) < radius + 3
            if not label[near].any():
                label[inside] = value
        images.append(rng.normal(0, 0.3, label.shape) + np.choose(label, [0.0, 1.5, 2.5]))
        labels.append(label)
    return np.stack(images)[..., np.newaxis].astype(np.float32), np.stack(labels)


def batch_of(images, labels, most=TINY["max_objects"]):
    """Patches with their objects, joined."""
    samples = [
        with_objects({"image": image, "label": label}, most, merged=False)
        for image, label in zip(images, labels, strict=True)
    ]
    return {name: tf.stack([one[name] for one in samples]) for name in samples[0]}


def objective_of(name, size, **options):
    keras.utils.set_random_seed(0)
    options = {**TINY, **options}
    model = build(name, (size, size, 1), 3, **options)
    config = model_config(name, **options)
    return model, DetectionObjective(model, config, build_loss("dice + ce"))


@pytest.mark.parametrize(
    ("name", "size"), [("faster_rcnn", (48, 48)), ("mask_rcnn", (48, 48)), ("cfun", (16, 16, 16))]
)
def test_a_network_that_learns_can_be_saved(name, size):
    """Its parts are taught as models of their own, which must leave the whole as it was."""
    model = build(name, (*size, 1), 3, **TINY)
    before = json.dumps(model.get_config(), default=str)
    DetectionObjective(model, model_config(name, **TINY), build_loss("dice + ce"))
    assert json.dumps(model.get_config(), default=str) == before


def test_a_step_is_a_function_of_its_patches():
    """The same patches give the same loss, alone or together: samples are drawn for each."""
    model, objective = objective_of("mask_rcnn", 48, anchor_samples=8, roi_samples=4)
    del model
    images, labels = discs(2, 0)
    both = objective(batch_of(images, labels))
    for sample in range(2):
        one = slice(sample, sample + 1)
        alone = objective(batch_of(images[one], labels[one]))
        np.testing.assert_allclose(alone[0], both[sample], rtol=1e-3)
    assert np.unique(both).size == 2


def test_a_patch_without_objects_teaches_the_background():
    model, objective = objective_of("mask_rcnn", 48)
    batch = batch_of(discs(1, 0)[0], np.zeros((1, 48, 48), np.int32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(objective(batch))
    assert np.isfinite(loss)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    taught = {
        weight.path.split("/")[0]
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is not None and np.any(gradient)
    }
    assert {"rpn_objectness", "box_classes"} <= taught
    assert not {"rpn_deltas", "box_deltas", "mask_classes"} & taught


@pytest.mark.slow
def test_mask_rcnn_learns_discs_and_squares():
    """Two classes told apart and counted on images never seen."""
    options = {"base_filters": 8, "anchor_scales": (2.0, 3.0), "anchor_ratios": (1.0,)}
    model, objective = objective_of("mask_rcnn", 48, **options)
    batches = tf.data.Dataset.from_tensor_slices(batch_of(*discs(256, 0))).repeat()
    batches = batches.batch(4, drop_remainder=True)
    optimizer = keras.optimizers.AdamW(2e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective(batch))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(tf.clip_by_global_norm(gradients, 12.0)[0], model.trainable_variables)

    for number, batch in enumerate(batches.take(400)):
        optimizer.learning_rate.assign(2e-3 * (1 - number / 400) ** 0.9)
        step(batch)
    images, labels = discs(32, 1)
    found = np.argmax(model(images, training=False), axis=-1)
    for value in (1, 2):
        both = np.sum((found == value) & (labels == value))
        assert 2 * both / (np.sum(found == value) + np.sum(labels == value)) > 0.7
    _, scores, *_ = detection_model(model)(images, training=False)
    counted = np.sum(np.asarray(scores) > 0.5, axis=1)
    there = [ndimage.label(label > 0)[1] for label in labels]
    assert np.mean(counted == there) > 0.5


SMALLEST = {
    "base_filters": 2, "patch_size": "16,16,16", "batch_size": 2, "steps_per_epoch": 2,
    "validation_cases": 1, "proposals": 8, "candidates": 8, "detections": 2, "max_objects": 2,
    "box_cells": 2, "mask_cells": 2,
}  # fmt: skip
MASK_RCNN = (
    "--model", "mask_rcnn", "--epochs", 1,
    *(word for key, value in SMALLEST.items() for word in ("--set", f"{key}={value}")),
)  # fmt: skip


@pytest.mark.slow
def test_the_command_trains_a_detector(tfseg, balls, tmp_path):
    code, out, err = tfseg("train", "--data", balls, "--run", "run", *MASK_RCNN, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["training"]["steps"] == 2
    assert (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        (
            "faster_rcnn",
            ("--set", "loss=dice"),
            "is that of its masks, and faster_rcnn has none; got loss 'dice'",
        ),
        (
            "mask_rcnn",
            ("--set", "loss=unet_weighted_ce"),
            "is that of masks inside boxes, and may need nothing but labels and logits; got "
            "'unet_weighted_ce', which needs the map",
        ),
        ("mask_rcnn", ("--set", "proposals=4"), "proposals=4; got 16"),
        ("mask_rcnn", ("--set", "levels=9"), "levels: Input should be less than or equal to 4"),
        (
            "mask_rcnn",
            ("--set", "mask_cells=1"),
            "mask_cells: Input should be greater than or equal",
        ),
        ("faster_rcnn", ("--set", "mask_cells=8"), "no setting is called 'mask_cells'"),
    ],
)
def test_bad_input_to_a_detectors_training(tfseg, balls, tmp_path, model, words, message):
    code, _, err = tfseg("train", "--model", model, "--data", balls, "--run", "run", *words)
    assert code == 2
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "run").exists()
