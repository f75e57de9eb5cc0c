"""Loops that Numba compiles, wherever tfseg is installed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from numba import njit
from numba.core.caching import FunctionCache

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Cache(FunctionCache):
    """Compiled code on disk; a full disk or quota costs the cache, not the work."""

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def compiled(function: _Function, *, fused: bool = False) -> _Function:
    """Compile ``function`` to machine code that does not hold the interpreter's lock.

    ``fused`` allows a product and a sum to be rounded once, where the processor can: faster, and
    not the same bits on every machine.

    The code is kept beside the source or in the user's cache folder. Where neither can be
    written, it is compiled in every process, which takes seconds. There is no cache in the
    temporary folder, where others could put code of their own.
    """
    dispatcher = njit(nogil=True, fastmath={"contract"} if fused else False)(function)
    with suppress(RuntimeError):  # Numba found no folder that it may write to
        dispatcher._cache = _Cache(function)
    return dispatcher
