"""Predictor: from a volume as it was read to labels on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.inference.backend import Backend
from tfseg.inference.backends import open_backend
from tfseg.inference.instances import Finding, instances_of
from tfseg.inference.postprocess import Step, parse_post, postprocess
from tfseg.inference.prediction import Prediction
from tfseg.inference.sliding import segment_array
from tfseg.inference.tta import mirrored
from tfseg.preprocess import prepare
from tfseg.volume import Volume


class Predictor:
    """Segments volumes with a run folder or any exported artifact.

    Example:
        >>> predictor = Predictor.open("runs/latest")              # doctest: +SKIP
        >>> labels = predictor.predict(read_volume(path)).labels   # doctest: +SKIP
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.backend = backend
        self.manifest = manifest
        self.post: tuple[Step, ...] = ()
        self.remarks: tuple[str, ...] = ()

    def refine(self, *, tta: bool = False, post: Sequence[str] = ()) -> Predictor:
        """Return this predictor with more work to each scan; ``remarks`` then tell of it.

        Args:
            tta: average over mirror images, see :func:`.tta.mirrored`.
            post: steps on the label map, see :mod:`.postprocess`. Probabilities stay the
                network's.

        Raises:
            ConfigError: that means nothing for this network, or is no such step.
        """
        refined = Predictor(self.backend, self.manifest)
        if tta:
            refined.backend = mirrored(self.backend, self.manifest)
        if post and self.finds_instances:
            raise ConfigError(
                f"--post changes the label map, and {self.manifest.model} draws it from the "
                "objects that it finds, which are written too. Leave --post out."
            )
        refined.post = parse_post(post, self.manifest.plan.labels)
        refined.remarks = (
            *(["test-time augmentation: averaged over mirror images"] if tta else []),
            *(f"post-processing: {step}" for step in refined.post),
        )
        return refined

    @classmethod
    def open(cls, model: str | Path) -> Predictor:
        """Open a run folder or an artifact; see :func:`tfseg.inference.backends.open_backend`."""
        return cls(*open_backend(model))

    def predict(
        self,
        volume: Volume,
        progress: Callable[[float], None] | None = None,
        *,
        probabilities: bool = False,
        instances: bool = False,
    ) -> Prediction:
        """Return the label map (z, y, x) uint8 on the volume's own grid, in one pass.

        Args:
            volume: raw intensities, any orientation, any size.
            progress: called with the finished share, in (0, 1].
            probabilities: also return the class probabilities. They are held as a whole:
                classes * 4 bytes a voxel.
            instances: also return a detector's objects one by one.

        Raises:
            ConfigError: objects are asked of what finds none.
            DataError: wrong number of channels, or voxels that are not finite.
        """
        if instances and not self.finds_instances:
            raise ConfigError(
                "objects one by one come from the run of a detector; this is "
                f"{self.manifest.model} as {self.manifest.format}. Use a run of mask_rcnn."
            )
        volume.check_values("the image")
        canonical, way = volume.canonical()
        plan = self.manifest.plan
        image = prepare(canonical, plan)
        found = Finding(self.backend)
        kept = None
        if probabilities:
            kept = np.empty((*canonical.shape, plan.num_classes), np.float32)
        labels = segment_array(
            image, found if instances else self.backend, plan, canonical.shape, progress, kept
        )
        labels = postprocess(labels, self.post, plan.labels, canonical.spacing_mm)
        z, y, x = image.shape[:3]
        return Prediction(
            volume.with_array(np.ascontiguousarray(way.undo(labels))),
            None if kept is None else np.ascontiguousarray(way.undo(kept)),
            instances_of(found.seen, plan, (z, y, x), volume, canonical.shape, way)
            if instances
            else None,
        )

    @property
    def finds_instances(self) -> bool:
        """Whether it finds objects one by one: the run of a detector does, its exports do not."""
        return self.backend.finds_instances
