"""From a scan to its label map, by whichever way a server allows.

* ``segment``: the raw volume goes to the signature of that name; the server normalises,
  resamples, tiles and blends.
* ``patches``: this side does all that, as ``tfseg predict`` does and by the same code, and asks
  the server for the probabilities of each patch, several at once. Any server of an export can
  do it, Triton and OpenVINO Model Server included. It takes the export's manifest, which no
  server hands out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.artifact import FILE_NAME, Manifest
from tfseg.errors import ConfigError, DataError, ServerError
from tfseg.plan import Plan
from tfseg.volume import Volume
from tfseg_serving.client.connection import SEGMENT, Client
from tfseg_serving.client.in_order import in_order
from tfseg_serving.client.refusals import MISSING_SIGNATURE
from tfseg_serving.wire import DATA_TYPES, DEFAULT_SIGNATURE, Metadata, Signature, TensorInfo

PATCHES = "patches"
INPUT = "image"
OUTPUT = "probabilities"

# Where a folder may keep its manifest: an export, a SavedModel's version, a run.
_PLACES = (FILE_NAME, f"assets.extra/{FILE_NAME}", "manifest.json")


class Segmenter:
    """Segments volumes with a served model. Threads may share it.

    Args:
        client: of the server.
        name: the model's name there.
        version: ``None`` for the latest.
        manifest: of the export that is served; patches need it, and it names the labels.
        patches: tile on this side even if the model has the signature ``segment``.
        timeout_s: for each answer: a volume's or a patch's.
        at_once: patches under way together.

    Attributes:
        way: ``segment`` or ``patches``.
        version: that the server named when it was asked; 0 when it numbers none.
        labels: names of the label values, if known.

    Raises:
        ServerError: the server cannot be reached or has no such model; the model has no
            signature that can be used.
        ConfigError: patches without a manifest, or a manifest of another model.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        version: int | None = None,
        *,
        manifest: Manifest | None = None,
        patches: bool = False,
        timeout_s: float = 600.0,
        at_once: int = 4,
    ) -> None:
        self._client, self._name, self._wanted = client, name, version
        self._manifest, self._timeout_s, self._at_once = manifest, timeout_s, at_once
        found = client.metadata(name, version, timeout_s)
        has_segment = SEGMENT in found.signatures and not patches
        self.way = SEGMENT if has_segment else PATCHES
        self.version = found.version
        self.labels = manifest.plan.labels if manifest else None
        self._signature = self._whole(found) if has_segment else self._network(found)

    def __call__(self, volume: Volume, progress: Callable[[float], None] | None = None) -> Volume:
        """Return the label map (z, y, x) uint8 on the volume's own grid.

        Args:
            volume: raw intensities, any orientation, any size.
            progress: called with the finished share, in (0, 1].

        Raises:
            DataError: wrong number of channels, or voxels that are not finite.
            ServerError: the server refused or answered something else.
        """
        if self.way == PATCHES:
            return self._by_patches(volume, progress)
        labels = self._in_one(volume)
        if progress is not None:
            progress(1.0)
        return labels

    # --- segment

    def _whole(self, found: Metadata) -> Signature:
        signature = found.signatures[SEGMENT]
        if "volume" not in signature.inputs or "labels" not in signature.outputs:
            raise ServerError(
                f"the signature {SEGMENT!r} of {self._what()} must take 'volume' and return "
                f"'labels'; it takes {', '.join(sorted(signature.inputs))} and returns "
                f"{', '.join(sorted(signature.outputs))}. {MISSING_SIGNATURE}"
            )
        return signature

    def _in_one(self, volume: Volume) -> Volume:
        canonical, way = volume.canonical()
        shape = self._signature.inputs["volume"].shape
        if shape is not None and len(shape) == 4 and shape[3] not in {-1, volume.channels}:
            raise DataError(
                f"the model {self._name!r} takes {shape[3]} channels; the scan has "
                f"{volume.channels}."
            )
        inputs = {"volume": np.ascontiguousarray(canonical.channel_last(), np.float32)}
        if "spacing_mm" in self._signature.inputs:
            inputs["spacing_mm"] = np.array(canonical.spacing_mm, np.float32)
        outputs = self._client.predict(
            self._name, inputs, SEGMENT, self._wanted, timeout_s=self._timeout_s
        )
        labels = outputs.get("labels")
        if labels is None or labels.shape != canonical.shape or labels.dtype != np.uint8:
            got = "nothing" if labels is None else f"{labels.dtype} {labels.shape}"
            raise ServerError(
                f"{self._what()} must return labels uint8 {canonical.shape}; got {got}. "
                "Is it an export of tfseg?"
            )
        if self.labels is not None and labels.max() >= len(self.labels):
            raise ConfigError(
                f"--manifest must be that of the model served: it names {len(self.labels)} labels; "
                f"{self._what()} answered with the value {labels.max()}. Name the export served."
            )
        return volume.with_array(np.ascontiguousarray(way.undo(labels)))

    # --- patches

    def _network(self, found: Metadata) -> Signature:
        signature = found.signatures.get(DEFAULT_SIGNATURE)
        if signature is None or INPUT not in signature.inputs or OUTPUT not in signature.outputs:
            raise ServerError(
                f"{self._what()} has no signature {SEGMENT!r}, nor one that takes {INPUT!r} and "
                f"returns {OUTPUT!r}; it has {', '.join(sorted(found.signatures)) or 'none'}. "
                f"{MISSING_SIGNATURE}"
            )
        if self._manifest is None:
            raise ConfigError(
                f"{self._what()} takes patches only, which needs the plan of its export: name "
                "the export's folder or its tfseg.json with --manifest."
            )
        plan = self._manifest.plan
        self._check_shape(INPUT, signature.inputs[INPUT], plan, len(plan.channels))
        self._check_shape(OUTPUT, signature.outputs[OUTPUT], plan, plan.num_classes)
        return signature

    def _check_shape(self, name: str, info: TensorInfo, plan: Plan, last: int) -> None:
        planned = (1, *plan.patch_size, last)
        fits = info.shape is None or (
            len(info.shape) == len(planned)
            and all(size in {-1, wanted} for size, wanted in zip(info.shape, planned, strict=True))
        )
        if not fits:
            raise ConfigError(
                f"--manifest must be that of the model served: it says {name} is {planned}; "
                f"{self._what()} says {info.shape} (-1 is any). Name the export that is served."
            )

    def _by_patches(self, volume: Volume, progress: Callable[[float], None] | None) -> Volume:
        from tfseg.inference.predictor import Predictor

        if self._manifest is None:
            raise ConfigError("patches need a manifest.")
        channels = len(self._manifest.plan.channels)
        if volume.channels != channels:
            raise DataError(
                f"the model {self._name!r} takes {channels} channels; the scan has "
                f"{volume.channels}."
            )
        # All patches of a volume go to one version, even if a newer one comes meanwhile.
        version = self._wanted
        if version is None:
            version = self._client.metadata(self._name, None, self._timeout_s).version or None
        network = _RemoteNetwork(self._ask, version, self._at_once)
        return Predictor(network, self._manifest).predict(volume, progress)

    def _ask(self, batch: NDArray[np.float32], version: int | None) -> NDArray[np.float32]:
        kind = DATA_TYPES.get(self._signature.inputs[INPUT].dtype)
        sent: NDArray[Any] = batch if kind is None else batch.astype(kind.numpy, copy=False)
        outputs = self._client.predict(
            self._name, {INPUT: sent}, DEFAULT_SIGNATURE, version, self._timeout_s
        )
        if OUTPUT not in outputs:
            raise ServerError(
                f"{self._what()} must answer with {OUTPUT!r}; got "
                f"{', '.join(sorted(outputs)) or 'nothing'}."
            )
        return np.asarray(outputs[OUTPUT], np.float32)

    def _what(self) -> str:
        return f"the model {self._name!r} at {self._client.url}"


class _RemoteNetwork:
    """A network on a server, as the sliding window asks it; several patches are under way."""

    def __init__(
        self,
        ask: Callable[[NDArray[np.float32], int | None], NDArray[np.float32]],
        version: int | None,
        at_once: int,
    ) -> None:
        self._ask, self._version, self._at_once = ask, version, at_once

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._ask(batch, self._version)

    def stream(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Answer the batches in their order."""
        return in_order(self, batches, self._at_once)


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of an export or a run.

    Args:
        path: the file, the folder of an export or a run, or a SavedModel's folder of versions,
            of which the highest is taken.

    Raises:
        DataError: none there, or a damaged one.
        ConfigError: it breaks its rules, or says that the export failed its parity gate.
    """
    file = _find(path)
    manifest = Manifest.load(file.parent, file.name)
    if manifest.parity is not None and not manifest.parity.get("passed"):
        raise ConfigError(
            f"{file} tells of an export that does not reproduce its network (parity.passed is "
            "not true). Export again."
        )
    return manifest


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        versions = [one for one in path.iterdir() if one.name.isdecimal() and one.is_dir()]
        newest = sorted(versions, key=lambda one: int(one.name), reverse=True)[:1]
        for folder in (path, *newest):
            for place in _PLACES:
                if (folder / place).is_file():
                    return folder / place
    raise DataError(
        f"--manifest must be {FILE_NAME}, or the folder of an export or a run; found none at "
        f"{path}."
    )
