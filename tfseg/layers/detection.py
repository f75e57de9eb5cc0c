"""From a detector's raw outputs to boxes, and from boxes to a label map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.layers.anchors import anchor_shapes, level_anchors
from tfseg.layers.boxes import clip_boxes, decode_boxes, take
from tfseg.layers.nms import first_kept, unsuppressed
from tfseg.layers.roi_align import fill_boxes, paste_masks
from tfseg.layers.shape import spatial_shape

ANCHOR_WEIGHTS = (1.0, 1.0)  # of box changes, see encode_boxes; Detectron's values
ROI_WEIGHTS = (10.0, 5.0)
_LEAST = 1e-6  # a probability's; its logarithm is a logit
_PADDING = -1e4  # score of boxes that only fill up the fixed number


@keras.saving.register_keras_serializable("tfseg")
class Proposals(keras.layers.Layer):
    """Choose the boxes that the heads look at: the best of each level, suppressed, best first.

    Takes [objectness of each level (batch, [z,] y, x, a), ..., box changes of each level (batch,
    [z,] y, x, a * 2 * rank), ..., image] and returns (batch, proposals, 2 * rank) in voxels,
    within the image. Where fewer boxes remain than ``proposals``, suppressed ones fill up. No
    gradient passes.

    Ren, He, Girshick, Sun 2015, arXiv:1506.01497; suppression level by level as in Lin et al.
    2016, arXiv:1612.03144.

    Args:
        strides: of the levels, finest first.
        scales: of the anchors, in strides.
        ratios: of the anchors.
        candidates: boxes a level before suppression.
        proposals: boxes in all.
        threshold: of suppression.
    """

    def __init__(
        self,
        strides: Sequence[int],
        scales: Sequence[float],
        ratios: Sequence[float],
        candidates: int,
        proposals: int,
        threshold: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.strides, self.scales, self.ratios = tuple(strides), tuple(scales), tuple(ratios)
        self.candidates, self.proposals, self.threshold = candidates, proposals, threshold

    def anchors(self, sizes: Sequence[Sequence[Any]]) -> list[tf.Tensor]:
        """Return the anchors of each level, (cells * a, 2 * rank); ``sizes`` are its cells."""
        return [
            level_anchors(
                cells, stride, anchor_shapes(stride, self.scales, self.ratios, len(cells))
            )
            for cells, stride in zip(sizes, self.strides, strict=True)
        ]

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        count = len(self.strides)
        scores, deltas, image = inputs[:count], inputs[count : 2 * count], inputs[-1]
        anchors = self.anchors([spatial_shape(x) for x in scores])
        parts = [self._best(*level, image) for level in zip(scores, deltas, anchors, strict=True)]
        score = tf.concat([part[0] for part in parts], axis=1)
        boxes = tf.concat([part[1] for part in parts], axis=1)
        level = np.repeat(np.arange(count, dtype=np.float32), self.candidates)
        # Best first over all levels.
        order = tf.math.top_k(score, count * self.candidates).indices
        boxes, groups = take(boxes, order), tf.gather(tf.constant(level), order)
        keep = unsuppressed(boxes, groups, self.threshold)
        return tf.stop_gradient(take(boxes, first_kept(keep, self.proposals)))

    def _best(
        self, scores: tf.Tensor, deltas: tf.Tensor, anchors: tf.Tensor, image: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return score and box of a level's best anchors, ``candidates`` of each sample."""
        flat = tf.reshape(scores, (tf.shape(scores)[0], -1))
        # A map may have fewer anchors than are asked for: boxes of no size fill up.
        spare = tf.fill([tf.shape(flat)[0], self.candidates], _PADDING)
        score, index = tf.math.top_k(tf.concat([flat, spare], axis=1), self.candidates)
        width = anchors.shape[-1]
        changes = tf.reshape(deltas, (tf.shape(deltas)[0], -1, width))
        index = tf.minimum(index, tf.shape(flat)[1] - 1)
        boxes = decode_boxes(take(changes, index), tf.gather(anchors, index), ANCHOR_WEIGHTS)
        boxes = clip_boxes(boxes, image)
        real = tf.cast(score > _PADDING / 2, tf.float32)
        return score, boxes * real[..., tf.newaxis]

    def compute_output_shape(self, input_shape: Any) -> Any:
        image = input_shape[-1]
        return (image[0], self.proposals, 2 * (len(image) - 2))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "strides": self.strides,
            "scales": self.scales,
            "ratios": self.ratios,
            "candidates": self.candidates,
            "proposals": self.proposals,
            "threshold": self.threshold,
        }


@keras.saving.register_keras_serializable("tfseg")
class Detections(keras.layers.Layer):
    """Turn classified proposals into detections: suppressed class by class, best first.

    Takes [class logits (batch, n, classes), the background first; box changes (batch, n,
    classes * 2 * rank); proposals (batch, n, 2 * rank); image] and returns boxes (batch,
    detections, 2 * rank) in voxels within the image, scores (batch, detections) in [0, 1], and
    classes (batch, detections) float, 1 or above. A score is the class's probability; boxes
    that only fill up the number have 0. No gradient passes.

    Args:
        detections: how many at most.
        threshold: of suppression.
    """

    def __init__(self, detections: int, threshold: float, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.detections, self.threshold = detections, threshold

    def call(self, inputs: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        logits, deltas, proposals, image = inputs
        count, classes, width = proposals.shape[1], logits.shape[-1], proposals.shape[-1]
        scores = tf.reshape(tf.nn.softmax(logits)[..., 1:], (-1, count * (classes - 1)))
        changes = tf.reshape(deltas, (-1, count, classes, width))[:, :, 1:]
        boxes = decode_boxes(changes, proposals[:, :, tf.newaxis], ROI_WEIGHTS)
        boxes = tf.reshape(clip_boxes(boxes, image), (-1, count * (classes - 1), width))
        # A few times as many as are wanted: each may suppress some.
        candidates = min(count * (classes - 1), 4 * self.detections)
        scores, order = tf.math.top_k(scores, candidates)
        values = np.tile(np.arange(1, classes, dtype=np.float32), count)
        boxes, values = take(boxes, order), tf.gather(tf.constant(values), order)
        keep = unsuppressed(boxes, values, self.threshold)
        first = first_kept(keep, self.detections)
        found = take(boxes, first), take(scores * keep, first), take(values, first)
        boxes, scores, values = (tf.stop_gradient(part) for part in found)
        return boxes, scores, values

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, _, width = input_shape[2]
        return (batch, self.detections, width), (batch, self.detections), (batch, self.detections)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "detections": self.detections,
            "threshold": self.threshold,
        }


@keras.saving.register_keras_serializable("tfseg")
class PasteDetections(keras.layers.Layer):
    """Draw detections into a label map by falling score, and return its logits.

    Takes [boxes (batch, n, 2 * rank), scores (batch, n), classes (batch, n), image] and, where
    there are masks, [..., masks (batch, n, [cells,] cells, cells, m), image]; without masks the
    boxes are filled. Returns (batch, [z,] y, x, classes) float32.

    Detection k covers a voxel with probability a_k = s_k m_k: its score, counted from
    ``score_threshold`` on, times its mask. The first to cover a voxel has it:

        p(class c) = sum over k of class c of a_k prod over j < k of (1 - a_j),

    and the background has what is left. With masks and scores of 0 and 1 that is pasting with
    the better detection on top; in between it is continuous, so that windows can be blended and
    runtimes compared. Masks of several channels are of the classes 1, 2, ... themselves.

    Args:
        classes: of the output; with 1, its logit is the foreground's over the background's.
        score_threshold: detections below count nothing.
    """

    def __init__(self, classes: int, score_threshold: float, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.classes, self.score_threshold = classes, score_threshold

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        boxes, scores, values, *masks, image = inputs
        size, count = spatial_shape(image), boxes.shape[1]
        if masks:
            drawn = paste_masks(masks[0], boxes, size)
        else:
            drawn = fill_boxes(boxes, size)[..., tf.newaxis]
        channels = drawn.shape[-1]
        voxels = tf.reshape(drawn, (tf.shape(drawn)[0], count, -1, channels))
        strength = tf.maximum(scores - self.score_threshold, 0.0) / (1.0 - self.score_threshold)
        shares = voxels * strength[:, :, tf.newaxis, tf.newaxis]  # (batch, n, voxels, channels)
        # One below 1 keeps the logarithm finite; an unpainted voxel is sure to the same degree.
        free = tf.math.log(tf.maximum(1.0 - tf.reduce_sum(shares, axis=-1), _LEAST))
        above = tf.constant(np.tril(np.ones((count, count), np.float32), -1))
        seen = shares * tf.expand_dims(tf.exp(tf.matmul(above, free)), -1)
        foreground = max(self.classes, 2) - 1
        if channels == 1:  # each detection is of its class
            indices = tf.constant(np.arange(1, foreground + 1, dtype=np.float32))
            own = tf.cast(tf.equal(values[..., tf.newaxis], indices), tf.float32)
            chances = tf.matmul(seen[..., 0], own, transpose_a=True)
        else:
            chances = tf.reduce_sum(seen, axis=1)  # (batch, voxels, foreground)
        logits = tf.math.log(tf.maximum(chances, _LEAST))
        # Not indexing with a new axis, which TensorFlow Lite has for known sizes only.
        background = tf.expand_dims(tf.reduce_sum(free, axis=1), -1)
        if self.classes == 1:
            logits -= background
        else:
            logits = tf.concat([background, logits], axis=-1)
        return tf.reshape(logits, (-1, *size, self.classes))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[-1][:-1], self.classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classes": self.classes,
            "score_threshold": self.score_threshold,
        }


@keras.saving.register_keras_serializable("tfseg")
class OwnMask(keras.layers.Layer):
    """Return the mask of each detection's own class, as probabilities.

    Takes [logits (batch, n, [cells,] cells, cells, classes), classes (batch, n)] and returns
    (batch, n, [cells,] cells, cells, 1) float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        logits, values = inputs
        return tf.sigmoid(own_channel(logits, values))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[0][:-1], 1)


@keras.saving.register_keras_serializable("tfseg")
class ForegroundMasks(keras.layers.Layer):
    """Return the probabilities of all classes but the background, 0, from logits of all.

    Takes (batch, n, [cells,] cells, cells, classes) and returns one channel less, float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        _, *inner, classes = logits.shape
        # Flat, because TensorFlow Lite cuts tensors of five axes at most.
        flat = tf.nn.softmax(tf.reshape(logits, (-1, math.prod(inner), classes)))
        return tf.reshape(flat[..., 1:], (-1, *inner, classes - 1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], input_shape[-1] - 1)


def own_channel(x: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Return the channel ``values`` (batch, n) of each of ``x`` (batch, n, ..., c), c being 1."""
    _, count, *inner, channels = x.shape
    indices = tf.range(channels, dtype=tf.float32)
    own = tf.cast(tf.equal(tf.cast(values, tf.float32)[..., tf.newaxis], indices), tf.float32)
    flat = tf.reshape(x, (-1, count, math.prod(inner), channels))
    chosen = tf.reduce_sum(flat * own[:, :, tf.newaxis], axis=-1)
    return tf.reshape(chosen, (-1, count, *inner, 1))


@keras.saving.register_keras_serializable("tfseg")
class ByBox(keras.layers.Layer):
    """Give (batch * count, ...) back its boxes' axis: (batch, count, ...)."""

    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.count = count

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (-1, self.count, *x.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (None, self.count, *input_shape[1:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}
