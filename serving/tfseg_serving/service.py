"""What a request does, whichever front it came by: run under the bounds, be counted.

The fronts turn bytes into arguments and results or :class:`StatusError` into bytes; everything
between those is here, so that REST and gRPC cannot differ in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from tfseg_serving import inference
from tfseg_serving.core import Core, Ticket
from tfseg_serving.metrics import microseconds_since
from tfseg_serving.model import Servable
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.wire import ModelSpec, WireError


class Service:
    """Runs requests over the models of a core."""

    def __init__(self, core: Core) -> None:
        self.core = core

    @contextmanager
    def counted(self, name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count a request of a model; time it when it succeeds."""
        start = time.monotonic()
        code = Code.INTERNAL
        try:
            yield
            code = Code.OK
        except StatusError as error:
            code = error.code
            raise
        finally:
            if code is Code.OK:
                self.core.metrics.request_latency.add(
                    microseconds_since(start), name, api, entrypoint
                )
            self.core.metrics.request_count.add(1, name, code.name)

    def predict(
        self,
        servable: Servable,
        spec: ModelSpec,
        inputs: Mapping[str, NDArray[Any] | WireError],
        output_filter: Sequence[str],
        ticket: Ticket,
    ) -> dict[str, NDArray[Any]]:
        """Run a signature of a version that the caller holds, within its turn."""
        with self.core.metrics.time_run(spec.name, "Predict"):
            return servable.predict(spec.signature, inputs, output_filter, ticket.time_left())

    def classify(self, request: Any, ticket: Ticket) -> tuple[Any, int]:
        """Answer a ``ClassificationRequest``: the result, and the version that gave it."""
        return self._with_examples(inference.classify, "Classify", request, ticket)

    def regress(self, request: Any, ticket: Ticket) -> tuple[Any, int]:
        """Answer a ``RegressionRequest``: the result, and the version that gave it."""
        return self._with_examples(inference.regress, "Regress", request, ticket)

    def _with_examples(
        self, function: Callable[..., Any], api: str, request: Any, ticket: Ticket
    ) -> tuple[Any, int]:
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = spec_of(request.model_spec)
        metrics = self.core.metrics
        with (
            self.core.models.use(spec.name, spec.version, spec.label) as (version, servable),
            self.core.admission.slot(ticket),
            metrics.time_run(spec.name, api),
        ):
            result = function(servable, request, ticket.time_left())
        metrics.count_examples(spec.name, inference.example_count(request.input))
        return result, version

    def multi_inference(self, request: Any, ticket: Ticket) -> tuple[list[Any], int]:
        """Answer a ``MultiInferenceRequest``: a result for each task, and the version."""
        if not request.tasks:
            raise invalid_argument("ModelSpec has no name specified.")
        spec = spec_of(request.tasks[0].model_spec)
        with (
            self.core.models.use(spec.name, spec.version, spec.label) as (version, servable),
            self.core.admission.slot(ticket),
        ):
            results = inference.multi_inference(servable, request, ticket.time_left())
        self.core.metrics.count_examples(spec.name, inference.example_count(request.input))
        return results, version


def spec_of(message: Any) -> ModelSpec:
    """Return a protobuf ``ModelSpec`` as data; its signature is empty when it names none.

    Raises:
        StatusError: it has no name.
    """
    if not message.name:
        raise invalid_argument("ModelSpec has no name specified.")
    version = message.version.value if message.HasField("version") else None
    return ModelSpec(message.name, version, message.version_label, message.signature_name)
