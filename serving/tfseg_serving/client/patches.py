"""Segmenting by patches: this side does what ``tfseg predict`` does, by the same code.

The server is asked for the probabilities of each patch, several at once. Any server of an
export can do it, Triton and OpenVINO Model Server included. It takes the plan in the export's
manifest, which no server hands out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError, ServerError
from tfseg.inference.backend import Backend
from tfseg.parallel import in_order
from tfseg.volume import Volume
from tfseg_serving.client.served import ServedModel
from tfseg_serving.wire import DATA_TYPES, DEFAULT_SIGNATURE, Signature, TensorInfo

INPUT = "image"
OUTPUT = "probabilities"


def takes_patches(signature: Signature) -> bool:
    """Tell whether a signature is that of an export's network."""
    return INPUT in signature.inputs and OUTPUT in signature.outputs


class Patches:
    """Normalises, resamples, tiles and blends on this side.

    Args:
        model: on its server.
        signature: its ``serving_default``, as the server tells it.
        manifest: of its export.
        at_once: patches under way together.

    Raises:
        ConfigError: the manifest is that of another model.
    """

    def __init__(
        self, model: ServedModel, signature: Signature, manifest: Manifest, at_once: int
    ) -> None:
        self._model, self._manifest, self._at_once = model, manifest, at_once
        plan = manifest.plan
        for name, info, last in (
            (INPUT, signature.inputs[INPUT], len(plan.channels)),
            (OUTPUT, signature.outputs[OUTPUT], plan.num_classes),
        ):
            planned = (1, *plan.patch_size, last)
            if not _fits(info, planned):
                raise ConfigError(
                    f"--manifest must be that of the model served: it says {name} is {planned}; "
                    f"{model} says {info.shape} (-1 is any). Name the export that is served."
                )
        kind = DATA_TYPES.get(signature.inputs[INPUT].dtype)
        self._dtype = kind.numpy if kind else np.dtype(np.float32)

    def __call__(self, volume: Volume, progress: Callable[[float], None] | None = None) -> Volume:
        """Return the label map (z, y, x) uint8 on the volume's own grid.

        Args:
            volume: raw intensities, any orientation, any size.
            progress: called with the finished share, in (0, 1].

        Raises:
            DataError: wrong number of channels, or voxels that are not finite.
            ServerError: the server refused, or answered something else.
        """
        self._model.check_channels(volume, len(self._manifest.plan.channels))
        # All patches of a volume go to one version, though a newer one may come meanwhile.
        version = self._model.version_now()
        try:
            return self._tiled(volume, version, progress)
        except ServerError:
            newer = self._model.version_now()
            if newer == version:
                raise
            # The version was replaced, and unloaded, in the middle of the volume.
            return self._tiled(volume, newer, progress)

    def _tiled(
        self, volume: Volume, version: int | None, progress: Callable[[float], None] | None
    ) -> Volume:
        from tfseg.inference.predictor import Predictor  # Numba: not for those who send volumes

        network = _RemoteNetwork(lambda batch: self._ask(batch, version), self._at_once)
        return Predictor(network, self._manifest).predict(volume, progress).labels

    def _ask(self, batch: NDArray[np.float32], version: int | None) -> NDArray[np.float32]:
        sent: NDArray[Any] = batch.astype(self._dtype, copy=False)
        outputs = self._model.predict({INPUT: sent}, DEFAULT_SIGNATURE, version)
        if OUTPUT not in outputs:
            raise ServerError(
                f"{self._model} must answer with {OUTPUT!r}; got "
                f"{', '.join(sorted(outputs)) or 'nothing'}."
            )
        return np.asarray(outputs[OUTPUT], np.float32)


class _RemoteNetwork(Backend):
    """A network on a server, as the sliding window asks it; several patches are under way."""

    def __init__(
        self, ask: Callable[[NDArray[np.float32]], NDArray[np.float32]], at_once: int
    ) -> None:
        self._ask, self._at_once = ask, at_once

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._ask(batch)

    def stream(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Answer the batches in their order."""
        return in_order(self._ask, batches, self._at_once)


def _fits(info: TensorInfo, planned: tuple[int, ...]) -> bool:
    return info.shape is None or (
        len(info.shape) == len(planned)
        and all(size in {-1, wanted} for size, wanted in zip(info.shape, planned, strict=True))
    )
