"""The REST API without HTTP: a method, a path and a body in, a status and a body out.

Grammar and texts are those of ``model_servers/http_rest_api_util.cc`` and
``http_rest_api_handler.cc``. Answers are compared byte for byte in the tests.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import zlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from tfseg_serving import json_tensor
from tfseg_serving.core import Ticket
from tfseg_serving.json_tensor import format_error, format_predict_response
from tfseg_serving.model import Servable
from tfseg_serving.service import Service
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.wire import ModelSpec, TensorInfo, VersionStatus

_LOG = logging.getLogger(__name__)

OUTER = re.compile(r"/v1/.*", re.IGNORECASE)
_PLACE = r"(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(
    rf"/v1/models/([^/:]+){_PLACE}:(classify|regress|predict)", re.IGNORECASE | re.DOTALL
)
_GET = re.compile(rf"/v1/models(?:/([^/:]+))?{_PLACE}(?:/(metadata))?", re.IGNORECASE | re.DOTALL)
_MAX_INFLATED = 100 << 20


@dataclass(frozen=True)
class RestRequest:
    """One HTTP request, read whole.

    Attributes:
        method: such as ``GET``.
        target: path and query as they came.
        body: as it came.
        gzipped: the body is to be inflated first.
    """

    method: str
    target: str
    body: bytes = b""
    gzipped: bool = False

    @property
    def is_question(self) -> bool:
        """Whether it asks about a model; otherwise it may run one."""
        return self.method != "POST"


class _EmptyAnswerError(StatusError):
    """An error that is answered with its HTTP status and an empty body."""


class RestApi:
    """Answers requests whose path is ``/v1/...``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._core = service.core

    def answer(self, request: RestRequest, ticket: Ticket) -> tuple[int, bytes]:
        """Return the HTTP status and the body; never raises."""
        try:
            return 200, self._answer(request, ticket)
        except _EmptyAnswerError as error:
            return error.code.http, b""
        except StatusError as error:
            return error.code.http, format_error(error.message)
        except Exception as error:
            _LOG.exception("a request failed")
            return 500, format_error(f"{type(error).__name__}: {error}")

    def _answer(self, request: RestRequest, ticket: Ticket) -> bytes:
        """Find out what is asked, and of which model; count it; answer it."""
        matched = None
        if request.method == "POST":
            matched = _POST.fullmatch(request.target)
        elif request.method == "GET":
            matched = _GET.fullmatch(request.target)
        name, version_text, label, verb = matched.groups() if matched else (None,) * 4
        name = _percent_decoded(name)
        api = verb if request.method == "POST" and verb else ""
        with self._service.counted(_printable(name), api, "REST"):
            if not matched:
                raise _malformed(request)
            spec = ModelSpec(name, _version_of(version_text), _percent_decoded(label))
            if request.method == "GET":
                return self._question(spec, verb)
            with self._inflated(request) as body:
                if verb == "predict":
                    return self._predict(spec, body, ticket)
                if verb == "classify":
                    return self._classify(spec, body, ticket)
                if verb == "regress":
                    return self._regress(spec, body, ticket)
            raise _malformed(request)  # the verb is there, but not in lower case

    @contextlib.contextmanager
    def _inflated(self, request: RestRequest) -> Any:
        """Yield the body, unpacked; what it grows to is accounted for."""
        if not request.gzipped:
            yield request.body
            return
        plain = _inflate(request.body)
        with self._core.memory.hold(len(plain)):
            yield plain

    def _question(self, spec: ModelSpec, verb: str | None) -> bytes:
        if not spec.name:
            raise invalid_argument("Missing model name in request.")
        if verb == "metadata":
            return self._metadata(spec)
        return _status_json(self._core.models.status(spec.name, spec.version))

    def _predict(self, spec: ModelSpec, body: bytes, ticket: Ticket) -> bytes:
        with self._core.admission.slot(ticket), contextlib.ExitStack() as held:
            servables: list[Servable] = []

            def inputs_of(signature: str) -> dict[str, TensorInfo]:
                # Called once the text is parsed: bad JSON is 400 on any model.
                using = self._core.models.use(spec.name, spec.version, spec.label)
                _, servable = held.enter_context(using)
                servables.append(servable)
                found = servable.signatures.get(signature)
                if found is None:
                    raise invalid_argument(
                        f'Serving signature name: "{signature}" not found in signature def'
                    )
                return found.inputs

            signature, form, inputs = json_tensor.parse_predict_request(body, inputs_of)
            asked = ModelSpec(spec.name, spec.version, spec.label, signature)
            outputs = self._service.predict(servables[0], asked, inputs, (), ticket)
            held.close()
            return format_predict_response(form, outputs)

    def _classify(self, spec: ModelSpec, body: bytes, ticket: Ticket) -> bytes:
        from tensorflow_serving.apis.classification_pb2 import ClassificationRequest

        request = _filled(ClassificationRequest(), spec, body)
        result, _ = self._service.classify(request, ticket)
        return json_tensor.format_classifications(result)

    def _regress(self, spec: ModelSpec, body: bytes, ticket: Ticket) -> bytes:
        from tensorflow_serving.apis.regression_pb2 import RegressionRequest

        request = _filled(RegressionRequest(), spec, body)
        result, _ = self._service.regress(request, ticket)
        return json_tensor.format_regressions(result)

    def _metadata(self, spec: ModelSpec) -> bytes:
        with self._core.models.use(spec.name, spec.version, spec.label) as (number, servable):
            named = {"name": spec.name, "signature_name": "", "version": str(number)}
            signatures = {"signature_def": _signatures_json(servable.signature_json)}
        # TF-Serving glues two documents of protobuf's printer together; so do we.
        text = (
            f'{{\n"model_spec":{_protobuf_json(named)}\n,\n"metadata": '
            f'{{"signature_def": {_protobuf_json(signatures)}\n}}\n}}\n'
        )
        return text.encode("utf-8", "surrogateescape")


def _malformed(request: RestRequest) -> StatusError:
    return invalid_argument(f"Malformed request: {request.method} {request.target}")


def _version_of(text: str | None) -> int | None:
    if not text:
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > 2**63 - 1:
        raise _EmptyAnswerError(Code.INVALID_ARGUMENT, "the version is past 64 bits")
    return int(digits)


def _percent_decoded(text: str | None) -> str:
    raw = (text or "").encode("utf-8", "surrogateescape")
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


def _printable(name: str) -> str:
    """Return a name as valid text on one line, for the counters."""
    return name.encode("utf-8", "replace").decode().replace("\n", " ")


def _filled(request: Any, spec: ModelSpec, body: bytes) -> Any:
    """Fill a protobuf request from the body; the path says which model."""
    json_tensor.fill_example_request(body, request)
    request.model_spec.name = _printable(spec.name)
    if spec.version is not None:
        request.model_spec.version.value = spec.version
    elif spec.label:
        request.model_spec.version_label = _printable(spec.label)
    return request


def _inflate(body: bytes) -> bytes:
    """Return the body unpacked; empty when it is no gzip or too large, as TF-Serving does."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, _MAX_INFLATED + 1)
    except zlib.error:
        return b""
    return plain if unpacker.eof and len(plain) <= _MAX_INFLATED else b""


def _protobuf_json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False)


def _signatures_json(signatures: dict[str, Any]) -> dict[str, Any]:
    """Return signatures with their members in TF-Serving's order."""

    def tensor(info: dict[str, Any]) -> dict[str, Any]:
        shape = info["tensor_shape"]
        ordered = {
            "dtype": info["dtype"],
            "tensor_shape": {"dim": shape["dim"], "unknown_rank": shape["unknown_rank"]},
        }
        # The rest is the tensor's name, or the names of a sparse tensor's parts.
        return ordered | {key: value for key, value in info.items() if key not in ordered}

    return {
        name: {
            "inputs": {key: tensor(info) for key, info in sorted(one["inputs"].items())},
            "outputs": {key: tensor(info) for key, info in sorted(one["outputs"].items())},
            "method_name": one["method_name"],
            "defaults": one["defaults"],
        }
        for name, one in signatures.items()
    }


def _status_json(statuses: list[VersionStatus]) -> bytes:
    document = {
        "model_version_status": [
            {
                "version": str(one.version),
                "state": one.state,
                "status": {"error_code": Code(one.code).name, "error_message": one.message},
            }
            for one in statuses
        ]
    }
    return (_protobuf_json(document) + "\n").encode("utf-8", "surrogateescape")
