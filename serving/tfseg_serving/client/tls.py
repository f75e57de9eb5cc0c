"""What a client believes of a server, and shows of itself: TLS and mutual TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError, DataError


@dataclass(frozen=True)
class Tls:
    """Files in PEM.

    Attributes:
        ca: root certificates that the server's must lead to; ``None`` takes those of the system
            over HTTPS, and those that gRPC brings along over gRPC.
        certificate: the client's own certificate, for servers that ask for one.
        key: its private key, not encrypted.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def https_context(self) -> ssl.SSLContext:
        """Return the context of HTTPS connections; all files are read and checked.

        Raises:
            DataError: a file cannot be read.
            ConfigError: one is no PEM, or certificate and key do not belong together.
        """
        if (self.certificate is None) != (self.key is None):
            one, other = ("--key", "--cert") if self.certificate is None else ("--cert", "--key")
            raise ConfigError(
                f"a client's certificate and its key go together; got {one} without {other}."
            )
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is not None:
            context = _believing(_text("--ca", self.ca), self.ca)
        if self.certificate is not None and self.key is not None:
            _text("--cert", self.certificate)
            if "ENCRYPTED" in _text("--key", self.key):
                raise ConfigError(
                    f"--key must not be encrypted; {self.key} is. Decrypt it with `openssl pkey` "
                    "into a file that only you can read."
                )
            try:
                context.load_cert_chain(self.certificate, self.key)
            except ssl.SSLError as error:
                raise ConfigError(
                    "--cert and --key must be a PEM certificate and its own PEM key; got "
                    f"{self.certificate} and {self.key}: {error.reason or error}."
                ) from error
        return context

    def grpc_credentials(self) -> Any:
        """Return the credentials of gRPC channels.

        Raises:
            DataError: a file cannot be read.
            ConfigError: one is no PEM, or certificate and key do not belong together.
        """
        import grpc

        self.https_context()  # gRPC itself would say nothing better than "failed to connect"
        return grpc.ssl_channel_credentials(
            None if self.ca is None else self.ca.read_bytes(),
            None if self.key is None else self.key.read_bytes(),
            None if self.certificate is None else self.certificate.read_bytes(),
        )


def _believing(roots: str, path: Path) -> ssl.SSLContext:
    """Return a context that believes these root certificates and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=roots)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"--ca must hold root certificates in PEM; got {path}: {error}."
        ) from error
    return context


def _text(option: str, path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise DataError(
            f"{option} must be a readable PEM file; {path}: {error.strerror}."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option} must be PEM, which is plain text; {path} is not. Convert DER with "
            "`openssl x509 -inform der`."
        ) from error
