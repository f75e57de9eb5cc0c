"""A SavedModel, run by TensorFlow; Keras and the network's own classes are not needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.inference.backend import Backend
from tfseg.inference.backends.verified import open_manifest
from tfseg.layout import EXTRA


class SavedModelBackend(Backend):
    """Answers through the signatures ``serving_default`` and ``segment``."""

    def __init__(self, folder: Path) -> None:
        """Load ``folder`` without checking it against its manifest.

        Raises:
            DataError: no SavedModel, a damaged one, or one without both signatures.
        """
        try:
            self._loaded = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{folder} cannot be loaded as a SavedModel: {reason}") from error
        signatures = self._loaded.signatures
        if not {"serving_default", "segment"} <= set(signatures):
            raise DataError(
                f"{folder} must have the signatures serving_default and segment; it has "
                f"{', '.join(sorted(signatures)) or 'none'}. Export it with tfseg export."
            )
        self._classify = signatures["serving_default"]
        self._segment = signatures["segment"]

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (n, [z,] y, x, k) of prepared windows (n, [z,] y, x, c)."""
        return self._classify(image=tf.constant(batch, tf.float32))["probabilities"].numpy()

    def segment(
        self, volume: NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> NDArray[np.uint8]:
        """Return labels (z, y, x) of a raw volume (z, y, x, c) in canonical orientation."""
        return self._segment(
            volume=tf.constant(volume, tf.float32), spacing_mm=tf.constant(spacing_mm, tf.float32)
        )["labels"].numpy()


def graph_and_weights(folder: Path) -> list[str]:
    """Return the files of a SavedModel that its answer depends on, relative to ``folder``."""
    weights = sorted(path for path in (folder / "variables").glob("*") if path.is_file())
    return ["saved_model.pb", *(path.relative_to(folder).as_posix() for path in weights)]


def open_artifact(folder: Path) -> tuple[SavedModelBackend, Manifest]:
    """Open a SavedModel's version folder."""
    manifest = open_manifest(folder, "savedmodel", *graph_and_weights(folder), inside=EXTRA)
    return SavedModelBackend(folder), manifest
