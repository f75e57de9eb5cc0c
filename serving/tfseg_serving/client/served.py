"""One model on a server, as both ways of segmenting see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.volume import Volume
from tfseg_serving.client.connection import Client
from tfseg_serving.client.protocol import Inputs


@dataclass(frozen=True)
class ServedModel:
    """A model and how to ask for it.

    Attributes:
        client: of its server.
        name: there.
        version: ``None`` for the latest.
        timeout_s: for each answer.
    """

    client: Client
    name: str
    version: int | None
    timeout_s: float

    def __str__(self) -> str:
        return f"the model {self.name!r} at {self.client.url}"

    def predict(
        self, inputs: Inputs, signature: str, version: int | None
    ) -> dict[str, NDArray[Any]]:
        """Run a signature of a version."""
        return self.client.predict(self.name, inputs, signature, version, self.timeout_s)

    def version_now(self) -> int | None:
        """Return the version that answers now; ``None`` where versions have no numbers."""
        if self.version is not None:
            return self.version
        return self.client.metadata(self.name, None, self.timeout_s).version or None

    def check_channels(self, volume: Volume, channels: int) -> None:
        """Check that a scan has the channels that the model takes.

        Raises:
            DataError: it has not.
        """
        if volume.channels != channels:
            raise DataError(
                f"the model {self.name!r} takes {channels} channels; the scan has "
                f"{volume.channels}."
            )
