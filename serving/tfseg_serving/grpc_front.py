"""The gRPC front: PredictionService and ModelService over :mod:`tfseg_serving.wire`.

Handlers get and return raw bytes, so a volume of hundreds of megabytes is parsed in place. Methods
that are not here (Classify, Regress, MultiInference, HandleReloadConfigRequest) are answered with
UNIMPLEMENTED by gRPC itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tfseg.errors import ConfigError
from tfseg_serving import wire
from tfseg_serving.core import Core
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.wire import ModelSpec, WireError

_LOG = logging.getLogger(__name__)
_MAX_MESSAGE = 1024
_CODES = {code.value[0]: code for code in grpc.StatusCode}

_Handler = Callable[[bytes, Any], bytes]


class GrpcFront:
    """A gRPC server on one port.

    Args:
        core: what answers.
        host: address to bind.
        port: port to bind; 0 takes a free one.
        threads: handler threads; more than predictions may run or wait, so that questions
            about status always find one.
        max_request_bytes: larger messages are refused with RESOURCE_EXHAUSTED.
        tensor_content: answer tensors as ``tensor_content`` rather than in typed fields.

    Raises:
        ConfigError: the port is in use.
    """

    def __init__(
        self,
        core: Core,
        host: str,
        port: int,
        *,
        threads: int,
        max_request_bytes: int,
        tensor_content: bool,
    ) -> None:
        self._core = core
        self._tensor_content = tensor_content
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._pool,
            options=[
                ("grpc.max_receive_message_length", max_request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        services: dict[str, dict[str, Any]] = {}
        for path, function in (
            (wire.PREDICT, self._predict),
            (wire.GET_MODEL_METADATA, self._metadata),
            (wire.GET_MODEL_STATUS, self._status),
        ):
            _, service, method = path.split("/")
            services.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(
                self._guard(function)
            )
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(service, methods)
                for service, methods in services.items()
            )
        )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(port_in_use("--grpc-port", host, port)) from error
        if not self.port:
            raise ConfigError(port_in_use("--grpc-port", host, port))

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop_accepting(self, grace_s: float) -> threading.Event:
        """Refuse new requests; those under way may go on for ``grace_s`` seconds.

        Returns:
            Set when the last answer has left, or the time is over.
        """
        return self._server.stop(grace_s)

    def close(self) -> None:
        """Cut what is still under way."""
        self._server.stop(0).wait()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _guard(self, function: _Handler) -> _Handler:
        def handle(message: bytes, context: Any) -> bytes:
            try:
                with self._core.request():
                    return function(message, context)
            except StatusError as error:
                code, text = error.code, error.message
            except WireError as error:
                code, text = Code.INVALID_ARGUMENT, f"the request cannot be parsed: {error}"
            except Exception as error:
                _LOG.exception("a request failed")
                code, text = Code.INTERNAL, f"{type(error).__name__}: {error}"
            if len(text) > _MAX_MESSAGE:
                text = text[:_MAX_MESSAGE] + "...TRUNCATED"
            context.set_code(_CODES[int(code)])
            context.set_details(text)
            return b""

        return handle

    def _predict(self, message: bytes, context: Any) -> bytes:
        request = wire.decode_predict_request(message)
        spec = _named(request.spec)
        signature = spec.signature or wire.DEFAULT_SIGNATURE
        with (
            self._core.models.use(spec.name, spec.version, spec.label) as (version, servable),
            self._core.admission.slot(_time_left(context)) as left,
        ):
            outputs = servable.predict(signature, request.inputs, request.output_filter, left)
        answered = ModelSpec(spec.name, version, signature=signature)
        try:
            return wire.encode_predict_response(answered, outputs, self._tensor_content)
        except WireError as error:
            raise StatusError(Code.UNIMPLEMENTED, str(error)) from error

    def _metadata(self, message: bytes, context: Any) -> bytes:
        spec, fields = wire.decode_spec_request(message)
        spec = _named(spec)
        if not fields:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in fields:
            if name != wire.SIGNATURE_DEF:
                raise invalid_argument(f"Metadata field {name} is not supported")
        with self._core.models.use(spec.name, spec.version, spec.label) as (version, servable):
            return wire.encode_metadata_response(
                ModelSpec(spec.name, version), servable.signature_defs
            )

    def _status(self, message: bytes, context: Any) -> bytes:
        spec, _ = wire.decode_spec_request(message)
        if spec is None:
            raise invalid_argument("Missing ModelSpec")
        return wire.encode_status_response(self._core.models.status(spec.name, spec.version))


def port_in_use(option: str, host: str, port: int) -> str:
    """Return the message for a port that cannot be bound."""
    return (
        f"{option} must be a free port of {host}; {port} is in use or not allowed. "
        f"Stop the other server, or choose another port (0 takes a free one)."
    )


def _named(spec: ModelSpec | None) -> ModelSpec:
    if spec is None:
        raise invalid_argument("Missing ModelSpec")
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    return spec


def _time_left(context: Any) -> float | None:
    left: float | None = context.time_remaining()
    # gRPC gives a deadline of centuries when the client set none.
    return left if left is not None and left < 1e8 else None
