"""The embedded server: TF-Serving's REST and gRPC API over real SavedModels, in one process.

For trying an export, for tests, and for machines where ``tensorflow_model_server`` cannot be had.
Departures from it, all on purpose: it binds 127.0.0.1 unless told otherwise; a model that cannot
be loaded at start is an error at once; requests are bounded in size and number; it drains on
SIGTERM; predictions over REST may take ten minutes instead of thirty seconds.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.errors import ConfigError
from tfseg_serving.core import Admission, Core
from tfseg_serving.grpc_front import GrpcFront, port_in_use
from tfseg_serving.manager import ModelConfig, ModelManager, Servable, Timing
from tfseg_serving.rest_front import RestFront
from tfseg_serving.status import StatusError

MAX_GRPC_BYTES = 2**31 - 1
MAX_REST_BYTES = 2**30
_WAITING_PER_RUNNING = 8
_QUESTION_THREADS = 8


@dataclass(frozen=True)
class ServerOptions:
    """How to serve.

    Attributes:
        host: address to bind.
        rest_port: 0 takes a free one.
        grpc_port: 0 takes a free one.
        max_request_bytes: largest request; ``None`` is 2 GiB - 1 for gRPC and 1 GiB for REST.
        max_concurrency: predictions at once; ``None`` is four for each CPU. Eight times as many
            may wait.
        rest_timeout_s: how long a prediction over REST may take; over gRPC the client says.
        tensor_content: answer gRPC tensors as ``tensor_content`` instead of typed fields.
        timing: of polling and retries.
    """

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    max_request_bytes: int | None = None
    max_concurrency: int | None = None
    rest_timeout_s: float = 600.0
    tensor_content: bool = False
    timing: Timing = field(default_factory=Timing)


class Server:
    """Serves models until it is stopped; a context manager that starts and stops.

    Args:
        models: what to serve; names differ.
        options: how.
        load: makes a servable of a version's folder; TensorFlow's loader when ``None``.

    Attributes:
        rest_url: ``http://HOST:PORT``, once started.
        grpc_url: ``grpc://HOST:PORT``, once started.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        options: ServerOptions = ServerOptions(),
        load: Callable[[Path], Servable] | None = None,
    ) -> None:
        self._models = models
        self._options = options
        self._load = load
        self._running: tuple[Core, RestFront, GrpcFront] | None = None
        self.rest_url = self.grpc_url = ""

    def start(self) -> None:
        """Bind both ports, load every model, then begin to answer.

        Raises:
            ConfigError: a port is in use, or a model cannot be served. Nothing stays open.
        """
        options = self._options
        running = options.max_concurrency or 4 * (os.cpu_count() or 1)
        waiting = running * _WAITING_PER_RUNNING
        if options.grpc_port:
            _probe(options.host, options.grpc_port)
        manager = ModelManager(self._models, self._load or _load_with_tensorflow, options.timing)
        core = Core(manager, Admission(running, waiting))
        rest = RestFront(
            core,
            options.host,
            options.rest_port,
            timeout_s=options.rest_timeout_s,
            max_request_bytes=options.max_request_bytes or MAX_REST_BYTES,
        )
        try:
            manager.start()
            grpc_front = GrpcFront(
                core,
                options.host,
                options.grpc_port,
                threads=running + waiting + _QUESTION_THREADS,
                max_request_bytes=options.max_request_bytes or MAX_GRPC_BYTES,
                tensor_content=options.tensor_content,
            )
        except StatusError as error:
            rest.close()
            raise ConfigError(
                f"{error.message}. Export the model again, or mend its path."
            ) from error
        except BaseException:
            rest.close()
            manager.close()
            raise
        rest.start()
        grpc_front.start()
        self._running = core, rest, grpc_front
        shown = f"[{options.host}]" if ":" in options.host else options.host
        self.rest_url = f"http://{shown}:{rest.port}"
        self.grpc_url = f"grpc://{shown}:{grpc_front.port}"

    def available(self) -> dict[str, list[int]]:
        """Return model name to the versions that answer now, newest first."""
        return self._running[0].models.available() if self._running else {}

    def stop(self, grace_s: float = 30.0) -> bool:
        """Take no more requests, wait for those under way, unload the models.

        Args:
            grace_s: how long to wait; what is still running then is cancelled.

        Returns:
            Whether every request under way got its answer.
        """
        if self._running is None:
            return True
        core, rest, grpc_front = self._running
        self._running = None
        deadline = time.monotonic() + grace_s
        answers_left = grpc_front.stop_accepting(grace_s)
        rest.stop_accepting()
        drained = core.wait_until_idle(grace_s)
        if drained:
            answers_left.wait(max(0.0, deadline - time.monotonic()))
        core.models.close()
        rest.close()
        grpc_front.close()
        return drained

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _load_with_tensorflow(folder: Path) -> Servable:
    # Imported at the first load, which comes after the ports and the folders were checked.
    from tfseg.quiet import import_tensorflow

    import_tensorflow()
    from tfseg_serving.servable import load_servable

    return load_servable(folder)


def _probe(host: str, port: int) -> None:
    """Check that a port is free before models load, which may take minutes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(port_in_use("--grpc-port", host, port)) from error
