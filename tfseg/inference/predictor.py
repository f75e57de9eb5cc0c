"""Predictor: from a volume as it was read to labels on its own grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.geometry import Reorientation
from tfseg.inference.backends import Backend, open_backend
from tfseg.inference.instances import describe_instances, draw_instances, find_instances
from tfseg.inference.sliding import probability_array, segment_array
from tfseg.preprocess import prepare
from tfseg.preprocess.resample import resample_linear
from tfseg.volume import Volume


class Predictor:
    """Segments volumes with a run folder or any exported artifact.

    Example:
        >>> predictor = Predictor.open("runs/latest")       # doctest: +SKIP
        >>> labels = predictor.predict(read_volume(path))   # doctest: +SKIP
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.backend = backend
        self.manifest = manifest

    @classmethod
    def open(cls, model: str | Path) -> Predictor:
        """Open a run folder or an artifact; see :func:`tfseg.inference.backends.open_backend`."""
        return cls(*open_backend(model))

    def predict(self, volume: Volume, progress: Callable[[float], None] | None = None) -> Volume:
        """Return the label map (z, y, x) uint8 on the volume's own grid.

        Args:
            volume: raw intensities, any orientation, any size.
            progress: called with the finished share, in (0, 1].

        Raises:
            DataError: wrong number of channels, or voxels that are not finite.
        """
        canonical, way = self._canonical(volume)
        image = prepare(canonical, self.manifest.plan)
        labels = segment_array(image, self.backend, self.manifest.plan, canonical.shape, progress)
        return volume.with_array(np.ascontiguousarray(way.undo(labels)))

    def predict_with_probabilities(
        self, volume: Volume, progress: Callable[[float], None] | None = None
    ) -> tuple[Volume, NDArray[np.float32]]:
        """Return the label map and the class probabilities (z, y, x, classes), in one pass.

        The probabilities are held as a whole: classes * 4 bytes a voxel.
        """
        canonical, way = self._canonical(volume)
        image = prepare(canonical, self.manifest.plan)
        slabs: list[NDArray[np.float32]] = []
        labels = segment_array(
            image, self.backend, self.manifest.plan, canonical.shape, progress, slabs.append
        )
        full = resample_linear(np.concatenate(slabs), canonical.shape)
        result = volume.with_array(np.ascontiguousarray(way.undo(labels)))
        return result, np.ascontiguousarray(way.undo(full))

    def probabilities(self, volume: Volume) -> NDArray[np.float32]:
        """Return class probabilities (z, y, x, classes) on the volume's own grid."""
        canonical, way = self._canonical(volume)
        image = prepare(canonical, self.manifest.plan)
        full = probability_array(image, self.backend, self.manifest.plan, canonical.shape)
        return np.ascontiguousarray(way.undo(full))

    @property
    def finds_instances(self) -> bool:
        """Whether :meth:`instances` answers: for the run of a detector, not for its exports."""
        return getattr(self.backend, "detect", None) is not None

    def instances(self, volume: Volume) -> tuple[Volume, list[dict[str, Any]]]:
        """Return a detector's objects one by one, on the volume's own grid.

        Returns:
            The number of each voxel's object, (z, y, x) uint16, 0 for none; and for each object,
            from number 1 on, its label, score, box in voxels and in mm, and volume.

        Raises:
            ConfigError: this model finds no objects.
            DataError: wrong number of channels, or voxels that are not finite.
        """
        detect = getattr(self.backend, "detect", None)
        if detect is None:
            raise ConfigError(
                "objects one by one come from the run of a detector; this is "
                f"{self.manifest.model} as {self.manifest.format}. Use a run of mask_rcnn."
            )
        plan = self.manifest.plan
        canonical, way = self._canonical(volume)
        image = prepare(canonical, plan)
        found = find_instances(image, detect, plan)
        z, y, x = image.shape[:3]
        numbers, drawn = draw_instances(found, (z, y, x), canonical.shape)
        result = volume.with_array(np.ascontiguousarray(way.undo(numbers)))
        return result, describe_instances(result.array, drawn, plan.labels, volume.affine)

    def _canonical(self, volume: Volume) -> tuple[Volume, Reorientation]:
        volume.check_values("the image")
        return volume.canonical()
