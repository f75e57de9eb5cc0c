"""What is said of a failed call, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tfseg.errors import ServerError
from tfseg_serving.client.mixups import mixed_up
from tfseg_serving.status import Code, StatusError
from tfseg_serving.wire import ModelSpec, WireError

_Message = TypeVar("_Message")

MISSING_SIGNATURE = "Export it again with `tfseg export --format savedmodel`."


def refusal(url: str, spec: ModelSpec, error: StatusError, timeout_s: float) -> ServerError:
    """Return the error for a failed call, in one line."""
    code = error.code
    what = f"{spec.name!r}" if spec.version is None else f"{spec.name!r} version {spec.version}"
    details = " ".join(error.message.split())[:300].rstrip(".")
    mixed = mixed_up(url, error)
    if mixed is not None:
        text = f"{mixed}."
    elif code is Code.UNAVAILABLE:
        text = (
            f"no server answers at {url}, or it is not ready ({details}). "
            "Start one with `tfseg serve`, or mend the URL."
        )
    elif code is Code.UNAUTHENTICATED:
        text = (
            f"no secure connection to {url} ({details}). Give the server's root certificate with "
            "--ca, and your own with --cert and --key if it asks for one."
        )
    elif code is Code.DEADLINE_EXCEEDED and details:
        text = (
            f"{url} gave up: {details}. Its own limit is shorter than the --timeout of "
            f"{timeout_s:g} s: raise it there (--rest_api_timeout_in_ms)."
        )
    elif code is Code.DEADLINE_EXCEEDED:
        text = f"{url} gave no answer within {timeout_s:g} s. Allow more with --timeout."
    elif code is Code.NOT_FOUND:
        text = (
            f"the model {what} is not served at {url} ({details}). "
            "Check name, version and --protocol."
        )
    elif f'"{spec.signature}" not found' in details:
        text = f"the model {what} at {url} has no signature {spec.signature!r}. {MISSING_SIGNATURE}"
    elif code is Code.UNIMPLEMENTED:
        text = (
            f"{url} does not offer this call ({details}). Is it a model server, and of this "
            "--protocol?"
        )
    elif code is Code.RESOURCE_EXHAUSTED:
        text = f"{url} refuses the request as too much: {details}. Send less, or later."
    else:
        text = f"{url} refuses the request for {what}: {code.name}: {details}."
    return ServerError(text)


def no_model_server(url: str, error: Exception) -> ServerError:
    """Return the error for JSON that no model server answers with."""
    return ServerError(
        f"{url} answers with JSON of another form ({type(error).__name__}: {error}). "
        "Is it a model server, and of this --protocol?"
    )


def decoded(url: str, decode: Callable[[bytes], _Message], message: bytes) -> _Message:
    """Return an answer's content.

    Raises:
        ServerError: it cannot be read.
    """
    try:
        return decode(message)
    except WireError as error:
        raise ServerError(f"{url} answers with a message that cannot be read: {error}.") from error
