"""The network that every exporter starts from, checked against its plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.files import sha256
from tfseg.inference.backends.keras_run import KerasBackend, class_probabilities
from tfseg.models import inference_model, load_run

NETWORK = "model.keras"


@dataclass(frozen=True)
class Source:
    """A trained network with its manifest.

    Attributes:
        folder: the run.
        network: Keras model, windows -> logits.
        manifest: of the run.
        backend: the network as ``tfseg predict`` runs it.
    """

    folder: Path
    network: Any
    manifest: Manifest
    backend: KerasBackend
    _classifiers: dict[tuple[int | None, ...], Any] = field(default_factory=dict, repr=False)

    @property
    def run_id(self) -> str:
        """The run's identity; one that has none is known by its network's content."""
        return self.manifest.run_id or f"sha256-{sha256(self.folder / NETWORK)[:32]}"

    @property
    def window_shape(self) -> tuple[int, ...]:
        """One window as the network sees it: ([z,] y, x, c)."""
        plan = self.manifest.plan
        return (*plan.patch_size, len(plan.channels))

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """What the network accepts: ([z,] y, x, c), ``None`` where any size fits."""
        return tuple(self.network.input_shape[1:])

    def probabilities(self, image: tf.Tensor) -> tf.Tensor:
        """Return class probabilities (n, [z,] y, x, k) of windows (n, [z,] y, x, c)."""
        return class_probabilities(self.network(image, training=False))

    def classifier(self, shape: tuple[int | None, ...]) -> Any:
        """Return the ``tf.function`` image (n, \\*shape) -> {"probabilities"} for any n.

        There is one for each shape, traced once.
        """
        if shape not in self._classifiers:

            def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
                return {"probabilities": self.probabilities(image)}

            spec = tf.TensorSpec((None, *shape), tf.float32, name="image")
            self._classifiers[shape] = tf.function(
                classify, input_signature=[spec], autograph=False
            )
        return self._classifiers[shape]

    def reference(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities that exports are compared to.

        The network is called with a free batch size, as exports are: layers that take a shortcut
        for a known one do not, and what the shortcut rounds otherwise is told apart from what
        the export does.
        """
        answer = self.classifier(self.window_shape)(tf.constant(batch, tf.float32))
        return answer["probabilities"].numpy()


def load_source(run: str | Path) -> Source:
    """Load a run and check that network and plan belong together.

    Raises:
        DataError: no run there, or a damaged file.
        ConfigError: the network does not take the plan's window, or does not return the plan's
            classes for each of its voxels.
    """
    model, manifest = load_run(run)
    source = Source(Path(run), inference_model(model), manifest, KerasBackend(model))
    window, plan = source.window_shape, manifest.plan
    accepted = source.input_shape
    fits = len(accepted) == len(window) and all(
        size in (None, wanted) for size, wanted in zip(accepted, window, strict=True)
    )
    if not fits:
        raise ConfigError(
            f"{run}: the network must take the plan's windows of shape {window}; it takes "
            f"{accepted}. Network and plan are not of one training."
        )
    answer = source.classifier(window).get_concrete_function().structured_outputs
    returned = tuple(answer["probabilities"].shape[1:])
    if returned != (*plan.patch_size, plan.num_classes):
        raise ConfigError(
            f"{run}: for export the network must return {plan.num_classes} classes for every "
            f"voxel of its window {plan.patch_size}; it returns {returned}. "
            "Use padding that keeps the size."
        )
    return source
