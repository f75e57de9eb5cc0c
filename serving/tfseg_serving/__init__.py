"""Serving: the embedded server, and the client of this and other model servers.

``from tfseg_serving import Client`` needs no TensorFlow, and neither does anything of
:mod:`tfseg_serving.client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfseg_serving.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: commands that need no client answer their --help sooner.
    if name == "Client":
        from tfseg_serving.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
