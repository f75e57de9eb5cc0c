"""Ways of training, by name. Importing it imports no TensorFlow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tfseg.errors import unknown_name

if TYPE_CHECKING:
    from tfseg.schemes.base import Scheme

SCHEMES = {
    "supervised": "supervised:Supervised",
    "detection": "detection:Detection",
}


def scheme_class(name: str) -> type[Scheme]:
    """Return a scheme by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in SCHEMES:
        raise unknown_name("scheme", name, SCHEMES)
    module, _, attribute = SCHEMES[name].partition(":")
    found: type[Scheme] = getattr(importlib.import_module(f"tfseg.schemes.{module}"), attribute)
    return found
