"""What a detector learns: which anchors and proposals lie on objects, their boxes, their masks.

Ren, He, Girshick, Sun 2015, arXiv:1506.01497; He, Gkioxari, Dollar, Girshick 2017,
arXiv:1703.06870. Objects are the connected components of a patch's labels. Which anchors and
proposals a step learns from is drawn by a seed that follows from the patch, so that the same
run draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers.boxes import box_iou, encode_boxes, take
from tfseg.layers.detection import ANCHOR_WEIGHTS, ROI_WEIGHTS, own_channel
from tfseg.layers.roi_align import pool_boxes
from tfseg.losses.loss import SegmentationLoss
from tfseg.models.detector import DetectorConfig, Parts, parts_of

ANCHOR_POSITIVE, ANCHOR_NEGATIVE = 0.7, 0.3  # intersection over union
ROI_POSITIVE = 0.5
_ANCHOR_SHARE, _ROI_SHARE = 0.5, 0.25  # of samples that may lie on objects
_BETA = 1 / 9  # where the smooth L1 loss turns from square to linear


class DetectionObjective:
    """The loss of a detecting network.

    The sum of five: cross-entropy and smooth L1 of the sampled anchors, the same of the sampled
    proposals, and ``loss`` of the masks. An anchor is on the object that it overlaps by 0.7 or
    more, or if none overlaps the object better; it is on none below 0.3; else it is not used.
    The objects' own boxes are among the proposals; a proposal is on the object it overlaps by
    0.5 or more. Smooth L1 counts those on objects only, and is divided by all that are sampled.
    A patch without objects teaches what the background is.

    Args:
        model: built by one of the detectors' builders.
        config: of the model.
        loss: of masks: of one class inside a box, or, where the network's masks have all classes,
            of all of them.
    """

    def __init__(self, model: Any, config: DetectorConfig, loss: SegmentationLoss) -> None:
        parts = parts_of(model)
        self._parts, self._config, self._loss = parts, config, loss
        rank = len(parts.image.shape) - 2
        sizes = [level.shape[1:-1] for level in parts.objectness]
        self._anchors = np.concatenate([np.asarray(x) for x in parts.anchors.anchors(sizes)])
        self._width = 2 * rank
        self._trunk = keras.Model(
            parts.image,
            [
                *parts.levels,
                *parts.mask_levels,
                *parts.objectness,
                *parts.anchor_deltas,
                parts.proposals,
            ],
        )
        self._box_head = keras.Model(
            [*parts.levels, parts.proposals], [parts.classes, parts.box_deltas]
        )
        self._mask_head = None
        if parts.mask_logits is not None:
            self._mask_head = keras.Model(
                [*parts.mask_levels, parts.detections[0]], parts.mask_logits
            )

    def __call__(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the loss of every sample, (batch,).

        Args:
            batch: image, label, objects, boxes, classes and seed of every sample, see
                :func:`tfseg.schemes.detection.with_objects`.
        """
        images, labels, numbers = batch["image"], batch["label"], batch["objects"]
        boxes, classes, seeds = batch["boxes"], batch["classes"], batch["seed"]
        outputs = iter(self._trunk(images, training=True))
        parts: Parts = self._parts
        levels = [next(outputs) for _ in parts.levels]
        mask_levels = [next(outputs) for _ in parts.mask_levels]
        objectness = [next(outputs) for _ in parts.objectness]
        deltas = [next(outputs) for _ in parts.anchor_deltas]
        proposals = next(outputs)

        count = tf.shape(images)[0]
        total = _anchor_loss(
            tf.concat([tf.reshape(level, (count, -1)) for level in objectness], axis=1),
            tf.concat([tf.reshape(level, (count, -1, self._width)) for level in deltas], axis=1),
            tf.constant(self._anchors),
            boxes,
            _noise(seeds, 0, len(self._anchors)),
            self._config.anchor_samples,
        )
        own = classes[..., tf.newaxis] > 0
        kept = self._config.proposals - self._config.max_objects
        rois = tf.concat([proposals[:, :kept], tf.where(own, boxes, proposals[:, kept:])], axis=1)
        rois = tf.stop_gradient(rois)
        logits, changes = self._box_head([*levels, rois], training=True)
        noise = _noise(seeds, 1, self._config.proposals)
        roi_loss, overlap, match = _roi_loss(
            logits, changes, rois, boxes, classes, noise, self._config.roi_samples
        )
        total += roi_loss
        if self._mask_head is not None:
            overlap, index = tf.math.top_k(overlap, self._config.detections)
            chosen, match = take(rois, index), take(match, index)
            masks = self._mask_head([*mask_levels, chosen], training=True)
            total += self._mask_loss(
                masks, chosen, overlap > 0, match, take(classes, match), labels, numbers
            )
        return total

    def _mask_loss(
        self,
        logits: tf.Tensor,
        boxes: tf.Tensor,
        used: tf.Tensor,
        match: tf.Tensor,
        classes: tf.Tensor,
        labels: tf.Tensor,
        numbers: tf.Tensor,
    ) -> tf.Tensor:
        """Return the mean of the loss over the boxes that are used, (batch,).

        The target is the object, or all labels, in the box, at the masks' grid.
        """
        _, count, *cells, channels = logits.shape
        if self._config.merges_classes:
            values = tf.range(channels)
            planes = tf.equal(tf.cast(labels, tf.int32)[..., tf.newaxis], values)
            target = pool_boxes(tf.cast(planes, tf.float32), boxes, cells=cells[0])
            truth = tf.argmax(target, axis=-1, output_type=tf.int32)  # (batch, k, cells...)
        else:
            shape = (-1, count, *(1,) * (len(labels.shape) - 1))
            own = tf.equal(tf.cast(numbers, tf.int32)[:, tf.newaxis], tf.reshape(match + 1, shape))
            plane = tf.reshape(tf.cast(own, tf.float32), (-1, *labels.shape[1:], 1))
            one = tf.reshape(boxes, (-1, 1, boxes.shape[-1]))
            target = pool_boxes(plane, one, cells=cells[0])
            truth = tf.cast(target[..., 0] >= 0.5, tf.int32)
            logits = own_channel(logits, classes)
        each = self._loss.per_sample(
            tf.reshape(truth, (-1, *cells)), tf.reshape(logits, (-1, *cells, logits.shape[-1]))
        )
        weight = tf.cast(used, tf.float32)
        total = tf.reduce_sum(tf.reshape(each, (-1, count)) * weight, axis=1)
        return total / tf.maximum(tf.reduce_sum(weight, axis=1), 1.0)


def _anchor_loss(
    objectness: tf.Tensor,
    deltas: tf.Tensor,
    anchors: tf.Tensor,
    boxes: tf.Tensor,
    noise: tf.Tensor,
    samples: int,
) -> tf.Tensor:
    """Return classification and box loss of the anchors, (batch,).

    Args:
        objectness: (batch, anchors).
        deltas: (batch, anchors, 2 * rank).
        anchors: (anchors, 2 * rank).
        boxes: (batch, objects, 2 * rank); empty ones are no objects.
        noise: (batch, anchors) in [0, 1); decides who is sampled.
        samples: how many.
    """
    overlaps = box_iou(anchors[tf.newaxis], boxes)  # (batch, anchors, objects)
    best, match = tf.reduce_max(overlaps, axis=2), tf.argmax(overlaps, axis=2, output_type=tf.int32)
    highest = tf.reduce_max(overlaps, axis=1, keepdims=True)
    favourite = tf.reduce_any((overlaps >= highest) & (overlaps > 0), axis=2)
    positive = (best >= ANCHOR_POSITIVE) | favourite
    negative = (best < ANCHOR_NEGATIVE) & ~positive
    positive, negative = _sample(positive, negative, noise, samples, _ANCHOR_SHARE)
    on, used = tf.cast(positive, tf.float32), tf.cast(positive | negative, tf.float32)
    number = tf.maximum(tf.reduce_sum(used, axis=1), 1.0)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(on, objectness)
    targets = encode_boxes(take(boxes, match), anchors, ANCHOR_WEIGHTS)
    distance = _smooth_l1(deltas - targets)
    return tf.reduce_sum(entropy * used + distance * on, axis=1) / number


def _roi_loss(
    logits: tf.Tensor,
    deltas: tf.Tensor,
    rois: tf.Tensor,
    boxes: tf.Tensor,
    classes: tf.Tensor,
    noise: tf.Tensor,
    samples: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return classification and box loss of the proposals, and which are on which object.

    Args:
        logits: (batch, n, classes).
        deltas: (batch, n, classes * 2 * rank).
        rois: (batch, n, 2 * rank), the proposals.
        boxes: (batch, objects, 2 * rank); empty ones are no objects.
        classes: (batch, objects).
        noise: (batch, n) in [0, 1); decides who is sampled.
        samples: how many.

    Returns:
        Loss (batch,); intersection over union with the object, 0 if on none, (batch, n); the
        object's index (batch, n).
    """
    overlaps = box_iou(rois, boxes)
    best, match = tf.reduce_max(overlaps, axis=2), tf.argmax(overlaps, axis=2, output_type=tf.int32)
    near = best >= ROI_POSITIVE
    positive, negative = _sample(near, ~near, noise, samples, _ROI_SHARE)
    on, used = tf.cast(positive, tf.float32), tf.cast(positive | negative, tf.float32)
    number = tf.maximum(tf.reduce_sum(used, axis=1), 1.0)
    values = tf.where(near, take(classes, match), 0)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(values, logits)
    width = rois.shape[-1]
    split = tf.reshape(deltas, (-1, rois.shape[1], logits.shape[-1], width))
    own = tf.gather(split, values, batch_dims=2)
    distance = _smooth_l1(own - encode_boxes(take(boxes, match), rois, ROI_WEIGHTS))
    loss = tf.reduce_sum(entropy * used + distance * on, axis=1) / number
    return loss, tf.where(near, best, 0.0), match


def _noise(seeds: tf.Tensor, use: int, count: int) -> tf.Tensor:
    """Return (batch, count) uniform numbers in [0, 1): each sample's follow from its own seed."""

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform((count,), tf.stack([seed, use]))

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec((count,), tf.float32))


def _sample(
    positive: tf.Tensor, negative: tf.Tensor, noise: tf.Tensor, samples: int, share: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Keep at most ``samples``, of which positive ones ``share`` at most; negatives fill up."""
    most = math.ceil(samples * share)
    positive = _strongest(positive, noise, tf.fill(tf.shape(noise)[:1], most), most)
    taken = tf.reduce_sum(tf.cast(positive, tf.int32), axis=1)
    return positive, _strongest(negative, noise, samples - taken, samples)


def _strongest(mask: tf.Tensor, noise: tf.Tensor, count: tf.Tensor, most: int) -> tf.Tensor:
    """Keep the ``count`` (batch,) >= 1, at most ``most``, entries of a mask with most noise."""
    key = tf.where(mask, noise, -1.0)
    most = min(most, noise.shape[1])
    ranked = tf.math.top_k(key, most).values
    last = tf.gather(ranked, tf.minimum(count, most) - 1, batch_dims=1)
    return mask & (key >= last[:, tf.newaxis])


def _smooth_l1(difference: tf.Tensor) -> tf.Tensor:
    """Return the sum over the last axis of x^2 / 2b below b, |x| - b / 2 above."""
    size = tf.abs(difference)
    each = tf.where(size < _BETA, 0.5 * size * size / _BETA, size - 0.5 * _BETA)
    return tf.reduce_sum(each, axis=-1)
