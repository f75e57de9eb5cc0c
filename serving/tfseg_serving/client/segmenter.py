"""From a scan to its label map, by whichever way a server allows.

* ``segment``: the raw volume goes to the signature of that name; see :mod:`.whole_volume`.
* ``patches``: this side tiles, the server answers for each patch; see :mod:`.patches`.
"""

from __future__ import annotations

from collections.abc import Callable

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError, ServerError
from tfseg.volume import Volume
from tfseg_serving.client.connection import SEGMENT, Client
from tfseg_serving.client.patches import INPUT, OUTPUT, Patches, takes_patches
from tfseg_serving.client.refusals import MISSING_SIGNATURE
from tfseg_serving.client.served import ServedModel
from tfseg_serving.client.whole_volume import WholeVolume
from tfseg_serving.wire import DEFAULT_SIGNATURE

PATCHES = "patches"


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
        found = client.metadata(name, version, timeout_s)
        model = ServedModel(client, name, version, timeout_s)
        self.version = found.version
        self.labels = manifest.plan.labels if manifest else None
        self._whole: WholeVolume | None = None
        if SEGMENT in found.signatures and not patches:
            self.way = SEGMENT
            self._whole = WholeVolume(model, found.signatures[SEGMENT], self.labels)
            return
        self.way = PATCHES
        signature = found.signatures.get(DEFAULT_SIGNATURE)
        if signature is None or not takes_patches(signature):
            raise ServerError(
                f"{model} has no signature {SEGMENT!r}, nor one that takes {INPUT!r} and returns "
                f"{OUTPUT!r}; it has {', '.join(sorted(found.signatures)) or 'none'}. "
                f"{MISSING_SIGNATURE}"
            )
        if manifest is None:
            raise ConfigError(
                f"{model} is asked for patches, which needs the plan of its export: name the "
                "export's folder or its tfseg.json with --manifest."
            )
        self._patches = Patches(model, signature, manifest, at_once)

    def __call__(self, volume: Volume, progress: Callable[[float], None] | None = None) -> Volume:
        """Return the label map (z, y, x) uint8 on the volume's own grid.

        Args:
            volume: raw intensities, any orientation, any size.
            progress: called with the finished share, in (0, 1].

        Raises:
            DataError: wrong number of channels, or voxels that are not finite.
            ServerError: the server refused, or answered something else.
            ConfigError: the server answered with a label that the manifest does not name.
        """
        if self._whole is None:
            return self._patches(volume, progress)
        labels = self._whole(volume)
        if progress is not None:
            progress(1.0)
        return labels
