"""Segmenting by the signature ``segment``: the raw volume goes out, the label map comes back."""

from __future__ import annotations

import numpy as np

from tfseg.errors import ConfigError, ServerError
from tfseg.volume import Volume
from tfseg_serving.client.connection import SEGMENT
from tfseg_serving.client.refusals import MISSING_SIGNATURE
from tfseg_serving.client.served import ServedModel
from tfseg_serving.wire import Signature


class WholeVolume:
    """Sends volumes; the server normalises, resamples, tiles and blends.

    Args:
        model: on its server.
        signature: its ``segment``, as the server tells it.
        labels: names of the label values, if known.

    Raises:
        ServerError: the signature is of another form.
    """

    def __init__(
        self, model: ServedModel, signature: Signature, labels: tuple[str, ...] | None
    ) -> None:
        self._model, self._signature, self._labels = model, signature, labels
        if "volume" not in signature.inputs or "labels" not in signature.outputs:
            raise ServerError(
                f"the signature {SEGMENT!r} of {model} must take 'volume' and return 'labels'; "
                f"it takes {', '.join(sorted(signature.inputs))} and returns "
                f"{', '.join(sorted(signature.outputs))}. {MISSING_SIGNATURE}"
            )

    def __call__(self, volume: Volume) -> Volume:
        """Return the label map (z, y, x) uint8 on the volume's own grid.

        Raises:
            DataError: wrong number of channels, or voxels that are no intensity.
            ServerError: the server refused, or answered something else.
            ConfigError: it answered with a value that has no name.
        """
        volume.check_values("the image")
        canonical, way = volume.canonical()
        shape = self._signature.inputs["volume"].shape
        if shape is not None and len(shape) == 4 and shape[3] != -1:
            self._model.check_channels(volume, shape[3])
        inputs = {"volume": np.ascontiguousarray(canonical.channel_last(), np.float32)}
        if "spacing_mm" in self._signature.inputs:
            inputs["spacing_mm"] = np.array(canonical.spacing_mm, np.float32)
        labels = self._model.predict(inputs, SEGMENT, self._model.version).get("labels")
        if labels is None or labels.shape != canonical.shape or labels.dtype != np.uint8:
            got = "nothing" if labels is None else f"{labels.dtype} {labels.shape}"
            raise ServerError(
                f"{self._model} must return labels uint8 {canonical.shape}; got {got}. "
                "Is it an export of tfseg?"
            )
        if self._labels is not None and labels.max() >= len(self._labels):
            raise ConfigError(
                f"--manifest must be that of the model served: it names {len(self._labels)} "
                f"labels; {self._model} answered with the value {labels.max()}. Name the export "
                "that is served."
            )
        return volume.with_array(np.ascontiguousarray(way.undo(labels)))
