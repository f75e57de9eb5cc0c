"""What every protocol offers to :class:`tfseg_serving.client.Client`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from tfseg_serving.wire import Metadata, ModelSpec, VersionStatus

Inputs = Mapping[str, NDArray[Any]]


class ServerProtocol(Protocol):
    """One way of asking a model server.

    The calls raise :class:`~tfseg_serving.status.StatusError` for what the server or the network
    says, :class:`~tfseg.errors.ServerError` for answers that cannot be read, and
    :class:`~tfseg_serving.wire.WireError` for inputs that cannot be sent.
    """

    def predict(self, spec: ModelSpec, inputs: Inputs, timeout_s: float) -> dict[str, NDArray[Any]]:
        """Run a signature."""
        ...

    def metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        """Ask for the signatures."""
        ...

    def status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]:
        """Ask for the state of the versions."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
