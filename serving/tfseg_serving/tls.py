"""Certificates for both ports, from TF-Serving's ``SSLConfig``."""

from __future__ import annotations

import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError
from tfseg_serving.protos import read_message


@dataclass(frozen=True)
class Tls:
    """What the server shows, and whom it believes; all in PEM.

    Attributes:
        key: the server's private key.
        certificate: the server's certificate, and those between it and its root.
        custom_ca: root certificates of clients.
        verify_clients: a client must show a certificate.
    """

    key: bytes
    certificate: bytes
    custom_ca: bytes = b""
    verify_clients: bool = False

    def grpc_credentials(self) -> Any:
        """Return the credentials of a gRPC port."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.custom_ca or None,
            require_client_auth=self.verify_clients,
        )

    def https_context(self) -> ssl.SSLContext:
        """Return the context of an HTTPS port.

        Raises:
            ConfigError: key and certificate are not PEM, or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # The ssl module reads key and certificate from files only.
            with tempfile.TemporaryDirectory(prefix="tfseg-tls-") as folder:
                path = Path(folder) / "chain.pem"
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                    file.write(self.key + b"\n" + self.certificate)
                context.load_cert_chain(path)
            if self.custom_ca:
                context.load_verify_locations(cadata=self.custom_ca.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise ConfigError(
                "--ssl-config must hold a PEM key and a PEM certificate that belong together; "
                f"got an error: {error}."
            ) from error
        if self.verify_clients:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def tls_from_file(path: str | os.PathLike[str]) -> Tls:
    """Read a ``tensorflow.serving.SSLConfig`` in text form: the PEM texts themselves.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it is no such text, or key or certificate are missing.
    """
    message = read_message(path, "SSLConfig", "--ssl-config")
    if not message.server_key or not message.server_cert:
        raise ConfigError(f"{path} must have server_key and server_cert; one is missing.")
    if message.client_verify and not message.custom_ca:
        raise ConfigError(f"{path}: client_verify needs custom_ca, the clients' root certificate.")
    return Tls(
        message.server_key.encode(),
        message.server_cert.encode(),
        message.custom_ca.encode(),
        message.client_verify,
    )
