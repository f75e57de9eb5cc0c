"""Runtimes that extras install: imported when a model needs them, or asked for in one line."""

from __future__ import annotations

import importlib
from types import ModuleType

from tfseg.errors import ConfigError


def import_runtime(module: str, *, title: str, extra: str) -> ModuleType:
    """Import a package that an extra of tfseg installs.

    Args:
        module: to import, such as ``openvino``.
        title: what the message calls it.
        extra: of tfseg, that installs it.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise ConfigError(
            f"{title} is not installed: there is no package {package}. "
            f"Install it with: pip install 'tfseg[{extra}]'."
        ) from error
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{title} is installed but does not load: {reason}.") from error
