"""How library code tells what it does: remarks, and walks through items that take time.

The command line gives an object that shows both on the screen (:mod:`tfseg.cli.console`). Code that
is given none is silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")


class Progress(Protocol):
    """Hears of remarks and of walks through items."""

    def note(self, text: str) -> None:
        """Hear a remark, one line."""

    def track(self, items: Iterable[_Item], what: str) -> Iterable[_Item]:
        """Yield the items; ``what`` says in a few words what is done with them."""


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None:
        """Drop the remark."""

    def track(self, items: Iterable[_Item], what: str) -> Iterable[_Item]:
        """Yield the items."""
        del what
        return items


SILENT: Progress = Silent()
