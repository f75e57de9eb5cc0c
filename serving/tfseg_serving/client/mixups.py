"""What a server speaks that does not understand us: gRPC or HTTP, with or without TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import urlsplit

from tfseg_serving.status import Code, StatusError

_LOOK_S = 2.0
# How HTTP/2 begins: a line that HTTP/1 refuses in words, and an empty SETTINGS frame.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS = 4
_SPOKEN = {
    "http": ("HTTP without TLS", "http://"),
    "https": ("HTTP with TLS", "https://"),
    "grpc": ("gRPC without TLS", "grpc://"),
    "grpcs": ("gRPC with TLS", "grpcs://"),
    "tls": ("TLS", "grpcs:// or https://"),
}


def mixed_up(url: str, error: StatusError) -> str | None:
    """Return what is wrong with a URL, found by a short look at its port; ``None`` if nothing is.

    Args:
        url: of a call that failed.
        error: of the call. Only where no answer was understood is there anything to look for.
    """
    if error.code not in {Code.UNAVAILABLE, Code.UNAUTHENTICATED} or not _unheard(error):
        return None
    parts = urlsplit(url)
    spoken = _spoken_at(parts.hostname or "", parts.port or 0)
    if spoken is None or spoken == parts.scheme or (spoken == "tls" and parts.scheme[-1] == "s"):
        return None
    if spoken not in _SPOKEN:
        return f"what answers at {url} speaks neither HTTP nor gRPC: it is no model server"
    what, scheme = _SPOKEN[spoken]
    return (
        f"the server at {url} speaks {what}. Write {scheme} for this port, or name its port for "
        f"{parts.scheme}://"
    )


def _unheard(error: StatusError) -> bool:
    """Tell whether the transport failed, rather than that the server said something."""
    cause = error.__cause__
    if isinstance(cause, (OSError, http.client.HTTPException)):
        return not isinstance(cause, ConnectionRefusedError)
    return any(word in error.message.lower() for word in ("connect", "handshake", "socket"))


def _spoken_at(host: str, port: int) -> str | None:
    try:
        return _over_tls(host, port) or _in_the_clear(host, port)
    except OSError:
        return None


def _over_tls(host: str, port: int) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # nothing is sent: who it is does not matter
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((host, port), _LOOK_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                try:
                    kind = _kind(_answer(secure))
                except OSError:  # it wants a certificate of ours
                    kind = None
                return f"{kind}s" if kind in {"http", "grpc"} else "tls"
        except ssl.SSLError as error:
            # An alert is TLS, too; what is none has another shape.
            return "tls" if "ALERT" in (error.reason or "") else None
        except OSError:
            return None


def _in_the_clear(host: str, port: int) -> str | None:
    with socket.create_connection((host, port), _LOOK_S) as plain:
        return _kind(_answer(plain))


def _answer(link: socket.socket) -> bytes:
    link.sendall(_PREFACE)
    answer = b""
    while len(answer) < 9 and (piece := link.recv(64)):
        answer += piece
    return answer


def _kind(answer: bytes) -> str | None:
    if answer.startswith(b"HTTP/"):
        return "http"
    if len(answer) >= 9 and answer[3] == _SETTINGS and answer[5:9] == bytes(4):
        return "grpc"
    return "other" if answer else None
