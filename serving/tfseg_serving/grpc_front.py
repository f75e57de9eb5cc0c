"""The gRPC front: PredictionService, ModelService and the health service.

Handlers get and return raw bytes. Predict, GetModelMetadata and GetModelStatus go through
:mod:`tfseg_serving.wire`, so a volume of hundreds of megabytes is parsed in place; the rest goes
through the official messages. SessionService is answered with UNIMPLEMENTED by gRPC itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    regression_pb2,
)

from tfseg.errors import ConfigError
from tfseg_serving import wire
from tfseg_serving.arrivals import PLACES, SILENT_S, Arrivals
from tfseg_serving.channels import WIDE
from tfseg_serving.config import models_from_list
from tfseg_serving.core import Core, Ticket
from tfseg_serving.health import MAX_WATCHERS, Health
from tfseg_serving.ports import port_in_use
from tfseg_serving.service import Service
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.tls import Tls
from tfseg_serving.wire import ModelSpec, WireError

_LOG = logging.getLogger(__name__)
_MAX_MESSAGE = 1024
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_PREDICTION, _MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_QUESTION_THREADS = 8

_Handler = Callable[[bytes, Any], bytes]


@dataclass(frozen=True)
class GrpcOptions:
    """How the gRPC front answers.

    Attributes:
        requests: predictions that may run or wait.
        max_request_bytes: larger messages are refused with RESOURCE_EXHAUSTED.
        tensor_content: answer tensors as ``tensor_content`` rather than in typed fields.
        health: offer ``grpc.health.v1.Health``.
        socket_path: listen on this unix socket, too.
        channel_arguments: gRPC's own settings by name.
    """

    requests: int
    max_request_bytes: int
    tensor_content: bool = False
    health: bool = False
    socket_path: str = ""
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)


class GrpcFront:
    """A gRPC server on one port.

    Args:
        core: what answers.
        host: address to bind.
        port: port to bind; 0 takes a free one, ``None`` binds none.
        options: bounds and extras.
        tls: certificates; ``None`` speaks plain text.

    Raises:
        ConfigError: the port is in use, or the socket cannot be made.
    """

    def __init__(
        self, core: Core, host: str, port: int | None, options: GrpcOptions, tls: Tls | None = None
    ) -> None:
        self._core = core
        self._service = Service(core)
        self._tensor_content = options.tensor_content
        self._health = Health()
        # More threads than predictions may run or wait: questions always find one.
        threads = options.requests + _QUESTION_THREADS + MAX_WATCHERS + PLACES
        self._arrivals = Arrivals()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        settings: dict[str, int | str] = {
            "grpc.max_receive_message_length": options.max_request_bytes,
            "grpc.max_send_message_length": -1,
            "grpc.so_reuseport": 0,
            # One connection may fill every place of a prediction, and no more.
            "grpc.max_concurrent_streams": options.requests + _QUESTION_THREADS,
            "grpc.server_handshake_timeout_ms": int(SILENT_S * 1000),
            "grpc.max_connection_idle_ms": int(SILENT_S * 1000),
            **WIDE,
            **options.channel_arguments,
        }
        self._server = grpc.server(
            self._pool, options=list(settings.items()), maximum_concurrent_rpcs=threads
        )
        self._add_services(options.health)
        self.port: int | None = None
        if port is not None:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self.port = self._bind(address, tls, port_in_use("--grpc-port", host, port))
        if options.socket_path:
            self._bind(
                f"unix:{options.socket_path}",
                tls,
                f"--grpc_socket_path must be a path where a socket can be made; got "
                f"{options.socket_path}.",
            )

    def _bind(self, address: str, tls: Tls | None, refusal: str) -> int:
        try:
            if tls is None:
                bound: int = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, tls.grpc_credentials())
        except RuntimeError as error:
            raise ConfigError(refusal) from error
        if not bound:
            raise ConfigError(refusal)
        return bound

    def _add_services(self, health: bool) -> None:
        services: dict[str, dict[str, Any]] = {}
        for path, function in (
            (wire.PREDICT, self._predict),
            (f"/{_PREDICTION}/Classify", self._classify),
            (f"/{_PREDICTION}/Regress", self._regress),
            (f"/{_PREDICTION}/MultiInference", self._multi_inference),
            (wire.GET_MODEL_METADATA, self._metadata),
            (wire.GET_MODEL_STATUS, self._status),
            (f"/{_MODEL}/HandleReloadConfigRequest", self._reload),
        ):
            _, service, method = path.split("/")
            services.setdefault(service, {})[method] = grpc.stream_unary_rpc_method_handler(
                self._guard(function)
            )
        if health:
            services[self._health.NAME] = self._health.methods(self._arrivals.message)
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(service, methods)
                for service, methods in services.items()
            )
        )

    def start(self) -> None:
        """Begin to answer."""
        self._arrivals.start()
        self._server.start()

    def stop_accepting(self, grace_s: float) -> threading.Event:
        """Refuse new requests; those under way may go on for ``grace_s`` seconds.

        Returns:
            Set when the last answer has left, or the time is over.
        """
        self._health.stop()
        return self._server.stop(grace_s)

    def close(self) -> None:
        """Cut what is still under way."""
        self._server.stop(0).wait()
        self._arrivals.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _guard(self, function: _Handler) -> Callable[[Iterator[bytes], Any], bytes]:
        def handle(messages: Iterator[bytes], context: Any) -> bytes:
            try:
                message = self._arrivals.message(messages, context)
            except StopIteration:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request has no message")
            try:
                with self._core.request(), self._core.memory.hold(len(message)):
                    return function(message, context)
            except StatusError as error:
                code, text = error.code, error.message
            except (WireError, DecodeError) as error:
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
        name = request.spec.name if request.spec else ""
        with self._service.counted(name, "Predict", "GRPC"):
            spec = _named(request.spec)
            signature = spec.signature or wire.DEFAULT_SIGNATURE
            asked = ModelSpec(spec.name, spec.version, spec.label, signature)
            ticket = _ticket(context)
            with (
                self._core.models.use(spec.name, spec.version, spec.label) as (version, servable),
                self._core.admission.slot(ticket),
            ):
                outputs = self._service.predict(
                    servable, asked, request.inputs, request.output_filter, ticket
                )
            answered = ModelSpec(spec.name, version, signature=signature)
            try:
                return wire.encode_predict_response(answered, outputs, self._tensor_content)
            except WireError as error:
                raise StatusError(Code.UNIMPLEMENTED, str(error)) from error

    def _classify(self, message: bytes, context: Any) -> bytes:
        request = classification_pb2.ClassificationRequest.FromString(message)
        with self._service.counted(request.model_spec.name, "Classify", "GRPC"):
            result, version = self._service.classify(request, _ticket(context))
        answer = classification_pb2.ClassificationResponse(result=result)
        return _answered(answer, request.model_spec, version)

    def _regress(self, message: bytes, context: Any) -> bytes:
        request = regression_pb2.RegressionRequest.FromString(message)
        with self._service.counted(request.model_spec.name, "Regress", "GRPC"):
            result, version = self._service.regress(request, _ticket(context))
        answer = regression_pb2.RegressionResponse(result=result)
        return _answered(answer, request.model_spec, version)

    def _multi_inference(self, message: bytes, context: Any) -> bytes:
        request = inference_pb2.MultiInferenceRequest.FromString(message)
        results, version = self._service.multi_inference(request, _ticket(context))
        response = inference_pb2.MultiInferenceResponse()
        for task, result in zip(request.tasks, results, strict=True):
            added = response.results.add()
            if isinstance(result, classification_pb2.ClassificationResult):
                added.classification_result.CopyFrom(result)
            else:
                added.regression_result.CopyFrom(result)
            _fill_spec(added.model_spec, task.model_spec, version)
        return _serialised(response)

    def _reload(self, message: bytes, context: Any) -> bytes:
        request = model_management_pb2.ReloadConfigRequest.FromString(message)
        kind = request.config.WhichOneof("config")
        if kind != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported"
            )
        ticket = _ticket(context)
        self._core.models.reload(
            models_from_list(request.config.model_config_list),
            lambda: ticket.abandoned or ticket.expired,
        )
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = int(Code.OK)
        for name in request.metric_names:
            response.metric.add(name=name, int64_value_increase=0)
        return _serialised(response)

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


def _answered(response: Any, asked: Any, version: int) -> bytes:
    _fill_spec(response.model_spec, asked, version)
    return _serialised(response)


def _fill_spec(spec: Any, asked: Any, version: int) -> None:
    """Name what answered: the version that was used, and no label."""
    spec.name = asked.name
    spec.signature_name = asked.signature_name or wire.DEFAULT_SIGNATURE
    spec.version.value = version


def _serialised(response: Any) -> bytes:
    data: bytes = response.SerializeToString()
    return data


def _named(spec: ModelSpec | None) -> ModelSpec:
    if spec is None:
        raise invalid_argument("Missing ModelSpec")
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    return spec


def _ticket(context: Any) -> Ticket:
    left: float | None = context.time_remaining()
    # gRPC gives a deadline of centuries when the client set none.
    ticket = Ticket(left if left is not None and left < 1e8 else None)
    if not context.add_callback(ticket.abandon):
        ticket.abandon()  # the call has ended already
    return ticket
