"""Test-time augmentation: a network's answers to a window and its mirror images, averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError
from tfseg.inference.backend import Backend, Scores, Windows

MIRRORED = "mirrored"  # in a manifest's account of the training: axes, of zyx


class Mirrored(Backend):
    """Averages probabilities over a window's mirror images: 2^n calls for n axes.

    For a network to which mirroring makes no difference it gives the same bits as the network
    alone: probabilities are added two by two, equal ones without rounding.
    """

    def __init__(self, backend: Backend, axes: Sequence[int]) -> None:
        """Mirror ``axes`` of batches (n, [z,] y, x, c), counted from the end: x is -2."""
        self._axes, self._backend = tuple(axes), backend
        self.repeatable = backend.repeatable

    def __call__(self, batch: Windows) -> Scores:
        """Return the mean probabilities of a batch."""
        return self._mean(batch, self._axes)

    def _mean(self, batch: Windows, axes: tuple[int, ...]) -> Scores:
        if not axes:
            return self._backend(np.ascontiguousarray(batch))
        straight = self._mean(batch, axes[1:])
        mirrored = self._mean(np.flip(batch, axes[0]), axes[1:])
        return (straight + np.flip(mirrored, axes[0])) / np.float32(2)


def mirrored(backend: Backend, manifest: Manifest) -> Mirrored:
    """Return the network averaged over the axes that its training mirrored.

    Raises:
        ConfigError: the training mirrored none, or nothing tells which, or the network finds
            objects one by one: their boxes cannot be averaged.
    """
    if backend.finds_instances:
        raise ConfigError(
            f"--tta averages probabilities, and {manifest.model} draws its label map from the "
            "objects that it finds. Leave --tta out."
        )
    told = manifest.training.get(MIRRORED)
    if not isinstance(told, str) or not set(told) <= set("zyx"):
        raise ConfigError(
            "--tta mirrors the axes that the training mirrored, and the model does not say which "
            f'(training has no "{MIRRORED}" in its manifest). Train again, or leave --tta out.'
        )
    axes = [axis for name, axis in (("z", -4), ("y", -3), ("x", -2)) if name in told]
    axes = [axis for axis in axes if -axis <= manifest.plan.dims + 1]
    if not axes:
        raise ConfigError(
            "--tta mirrors the axes that the training mirrored, and it mirrored none: mirror "
            "images are strange to this network. Leave --tta out."
        )
    return Mirrored(backend, axes)
