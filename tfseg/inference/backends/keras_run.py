"""A run folder's Keras network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfseg.artifact import Manifest
from tfseg.inference.backend import Backend, Detections, Scores, Windows
from tfseg.models import inference_model, load_run
from tfseg.models.detector import detection_model, is_detector


class KerasBackend(Backend):
    """Runs a Keras model that returns logits; one logit stands for two classes."""

    streams_logits = True

    def __init__(self, model: Any) -> None:
        network = inference_model(model)
        self.finds_instances = is_detector(network)
        self._logits = _function(lambda batch: two_logits(network(batch, training=False)))
        self._probabilities = _function(
            lambda batch: class_probabilities(network(batch, training=False))
        )
        if self.finds_instances:
            both = keras.Model(network.input, [network.output, *detection_model(network).outputs])
            self._both = _function(lambda batch: both(batch, training=False))

    def __call__(self, batch: Windows) -> Scores:
        """Return the probabilities of a batch."""
        return self._probabilities(tf.constant(batch)).numpy()

    def stream(self, batches: Iterable[Windows]) -> Iterator[Scores]:
        """Yield the logits of batches, in their order."""
        return (self._logits(tf.constant(batch)).numpy() for batch in batches)

    def detect(self, batch: Windows) -> tuple[Scores, Detections]:
        """Return the probabilities of a batch and the objects in it, in one pass."""
        if not self.finds_instances:
            return super().detect(batch)
        logits, *found = self._both(tf.constant(batch))
        return class_probabilities(logits).numpy(), Detections(*(part.numpy() for part in found))


def _function(function: Callable[[tf.Tensor], Any]) -> Any:
    return tf.function(function, reduce_retracing=False)


def two_logits(logits: tf.Tensor) -> tf.Tensor:
    """Return logits (..., k) as they are; of one logit, the foreground's, those of two classes."""
    if logits.shape[-1] != 1:
        return logits
    return tf.concat([tf.zeros_like(logits), logits], axis=-1)


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
