"""A run folder's Keras network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.models import inference_model, load_run
from tfseg.models.detector import detection_model, is_detector


class KerasBackend:
    """Runs a Keras model that returns logits; answers with probabilities.

    Attributes:
        detect: windows -> boxes, scores, labels and masks, see
            :func:`tfseg.models.detector.detection_model`; ``None`` unless it is a detector.
    """

    def __init__(self, model: Any) -> None:
        self._model = inference_model(model)
        self.detect = _detector(self._model) if is_detector(self._model) else None
        self._call = tf.function(self._probabilities, reduce_retracing=False)

    def _probabilities(self, batch: tf.Tensor) -> tf.Tensor:
        return class_probabilities(self._model(batch, training=False))

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._call(tf.constant(batch)).numpy()


def _detector(model: Any) -> Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]:
    network = detection_model(model)
    call = tf.function(lambda batch: network(batch, training=False), reduce_retracing=False)
    return lambda batch: [part.numpy() for part in call(tf.constant(batch))]


def class_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Return probabilities (..., k) of logits (..., k); of one logit, of two classes."""
    if logits.shape[-1] == 1:  # the foreground's; the background has the rest
        foreground = tf.nn.sigmoid(logits)
        return tf.concat([1 - foreground, foreground], axis=-1)
    return tf.nn.softmax(logits)


def open_artifact(folder: Path) -> tuple[KerasBackend, Manifest]:
    """Open a run folder."""
    model, manifest = load_run(folder)
    return KerasBackend(model), manifest
