"""What is said of a port that cannot be had, and a look whether it can."""

from __future__ import annotations

import socket

from tfseg.errors import ConfigError


def port_in_use(option: str, host: str, port: int) -> str:
    """Return the message for a port that cannot be bound."""
    return (
        f"{option} must be a free port of {host}; {port} is in use or not allowed. "
        f"Stop the other server, or choose another port (0 takes a free one)."
    )


def check_free(option: str, host: str, port: int) -> None:
    """Check that a port is free before models load, which may take minutes.

    Raises:
        ConfigError: it is not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(port_in_use(option, host, port)) from error
