"""A run folder's Keras network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.models import inference_model, load_run


class KerasBackend:
    """Runs a Keras model that returns logits; answers with probabilities."""

    def __init__(self, model: Any) -> None:
        self._model = inference_model(model)
        self._call = tf.function(self._probabilities, reduce_retracing=False)

    def _probabilities(self, batch: tf.Tensor) -> tf.Tensor:
        return class_probabilities(self._model(batch, training=False))

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._call(tf.constant(batch)).numpy()


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
