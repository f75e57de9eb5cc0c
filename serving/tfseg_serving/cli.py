"""The commands ``serve`` and ``query``, each from the module of its own."""

from __future__ import annotations

from tfseg_serving.cli_query import query
from tfseg_serving.cli_serve import serve

__all__ = ["query", "serve"]
