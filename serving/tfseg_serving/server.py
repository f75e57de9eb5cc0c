"""The embedded server: TF-Serving's REST and gRPC API over real SavedModels, in one process.

For trying an export, for tests, and for machines where ``tensorflow_model_server`` cannot be had.
Departures from it, all on purpose: it binds 127.0.0.1 unless told otherwise; a model that cannot
be loaded at start is an error at once; labels of the first configuration may name versions that
are loaded with it; requests are bounded in size, number and memory; TLS covers both ports; it
drains on SIGTERM; predictions over REST may take ten minutes instead of thirty seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg.errors import ConfigError
from tfseg.inference.backends.optional import import_runtime
from tfseg_serving.config_watch import ConfigWatcher
from tfseg_serving.core import Admission, Core, Memory
from tfseg_serving.loading import LoadOptions
from tfseg_serving.manager import ModelManager
from tfseg_serving.model import Servable
from tfseg_serving.ports import check_free
from tfseg_serving.status import StatusError
from tfseg_serving.tls import Tls
from tfseg_serving.versions import ModelConfig, Timing

if TYPE_CHECKING:
    from tfseg_serving.grpc_front import GrpcFront
    from tfseg_serving.rest_front import RestFront

MAX_GRPC_BYTES = 2**31 - 1
MAX_REST_BYTES = 2**30
_WAITING_PER_RUNNING = 8
_MOST_BATCHED = 256  # predictions at once, each of which has a thread
_QUESTION_THREADS = 8
_MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class ServerOptions:
    """How to serve.

    Attributes:
        host: address to bind.
        rest_port: 0 takes a free one, ``None`` offers no REST.
        grpc_port: 0 takes a free one, ``None`` offers no gRPC on TCP.
        grpc_socket_path: offer gRPC on this unix socket, too.
        max_request_bytes: largest request; ``None`` is 2 GiB - 1 for gRPC and 1 GiB for REST.
        max_memory_bytes: of all requests that are held; ``None`` is half of the machine's memory.
        max_concurrency: predictions at once; ``None`` is four for each CPU, or as many as fill
            the batches that run and one more. Eight times as many may wait.
        rest_timeout_s: how long a prediction over REST may take; over gRPC the client says.
        tensor_content: answer gRPC tensors as ``tensor_content`` instead of typed fields.
        cors: let web pages of any origin read REST answers.
        health: offer gRPC's health service.
        metrics_path: REST path that Prometheus reads; ``None`` for none.
        tls: certificates for both ports; ``None`` speaks plain text.
        channel_arguments: gRPC's own settings by name.
        timing: of polling and retries.
        config_file: a models.config to look at again, every ``config_poll_s`` seconds.
        config_poll_s: 0 never looks again.
        labels_for_unavailable: a new label may name a version that is not available.
        load_threads: versions that load at once; ``None`` for one of each model.
        loading: how versions are loaded and run.
    """

    host: str = "127.0.0.1"
    rest_port: int | None = 8501
    grpc_port: int | None = 8500
    grpc_socket_path: str = ""
    max_request_bytes: int | None = None
    max_memory_bytes: int | None = None
    max_concurrency: int | None = None
    rest_timeout_s: float = 600.0
    tensor_content: bool = False
    cors: bool = False
    health: bool = False
    metrics_path: str | None = None
    tls: Tls | None = None
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    config_file: Path | None = None
    config_poll_s: float = 0.0
    labels_for_unavailable: bool = False
    load_threads: int | None = None
    loading: LoadOptions = field(default_factory=LoadOptions)


class Server:
    """Serves models until it is stopped; a context manager that starts and stops.

    Args:
        models: what to serve; names differ.
        options: how.
        load: makes a servable of a version's folder; TensorFlow's loader when ``None``.

    Attributes:
        rest_url: ``http://HOST:PORT``, once started; empty where there is no REST.
        grpc_url: ``grpc://HOST:PORT``, once started; empty where there is no gRPC on TCP.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        options: ServerOptions = ServerOptions(),
        load: Callable[[Path], Servable] | None = None,
    ) -> None:
        self._models = models
        self._options = options
        self._load = load or self._load_with_tensorflow
        self._core: Core | None = None
        self._rest: RestFront | None = None
        self._grpc: GrpcFront | None = None
        self._watcher: ConfigWatcher | None = None
        self.rest_url = self.grpc_url = ""

    def start(self) -> None:
        """Bind both ports, load every model, then begin to answer.

        Raises:
            ConfigError: a port is in use, or a model cannot be served. Nothing stays open.
        """
        self.prepare()
        self.answer()

    def prepare(self) -> None:
        """Do all of :meth:`start` but answer; raises what it does."""
        options = self._options
        check_installed()
        running = options.max_concurrency or _usual_concurrency(options.loading)
        requests = running * (1 + _WAITING_PER_RUNNING)
        if options.grpc_port:
            check_free("--grpc-port", options.host, options.grpc_port)
        manager = ModelManager(
            self._models,
            self._load,
            options.timing,
            labels_for_unavailable=options.labels_for_unavailable,
            load_threads=options.load_threads,
        )
        core = Core(
            manager,
            Admission(running, requests - running),
            Memory(options.max_memory_bytes or _half_of_memory()),
            options.loading.metrics,
        )
        try:
            self._rest = self._rest_front(core, requests)
            manager.start()
            self._grpc = self._grpc_front(core, requests)
        except BaseException as error:
            self._close_fronts()
            manager.close()
            if isinstance(error, StatusError):
                raise ConfigError(
                    f"{error.message}. Export the model again, or mend its path."
                ) from error
            raise
        self._core = core

    def answer(self) -> None:
        """Begin to answer, once prepared; raises what :meth:`start` does."""
        options = self._options
        if self._core is None:
            raise ValueError("prepare() comes first")
        try:
            if self._rest is not None:
                self._rest.start()
            if self._grpc is not None:
                self._grpc.start()
            if options.config_file is not None and options.config_poll_s > 0:
                self._watcher = ConfigWatcher(
                    options.config_file, options.config_poll_s, self._core.models.reload
                )
                self._watcher.start()
        except BaseException:
            self.stop(grace_s=0)
            raise
        shown = f"[{options.host}]" if ":" in options.host else options.host
        secure = "s" if options.tls else ""
        if self._rest is not None:
            self.rest_url = f"http{secure}://{shown}:{self._rest.port}"
        if self._grpc is not None and self._grpc.port is not None:
            self.grpc_url = f"grpc{secure}://{shown}:{self._grpc.port}"

    def _rest_front(self, core: Core, requests: int) -> RestFront | None:
        options = self._options
        if options.rest_port is None:
            return None
        from tfseg_serving.rest_app import RestOptions
        from tfseg_serving.rest_front import RestFront

        chosen = RestOptions(
            timeout_s=options.rest_timeout_s,
            max_request_bytes=options.max_request_bytes or MAX_REST_BYTES,
            threads=requests + _QUESTION_THREADS,
            cors=options.cors,
            metrics_path=options.metrics_path,
        )
        context = options.tls.https_context() if options.tls else None
        return RestFront(core, options.host, options.rest_port, chosen, context)

    def _grpc_front(self, core: Core, requests: int) -> GrpcFront | None:
        options = self._options
        if options.grpc_port is None and not options.grpc_socket_path:
            return None
        # The official messages import TensorFlow, which the models have done by now.
        from tfseg.quiet import import_tensorflow

        import_tensorflow()
        from tfseg_serving.grpc_front import GrpcFront, GrpcOptions

        chosen = GrpcOptions(
            requests=requests,
            max_request_bytes=options.max_request_bytes or MAX_GRPC_BYTES,
            tensor_content=options.tensor_content,
            health=options.health,
            socket_path=options.grpc_socket_path,
            channel_arguments=options.channel_arguments,
        )
        return GrpcFront(core, options.host, options.grpc_port, chosen, options.tls)

    def _load_with_tensorflow(self, folder: Path) -> Servable:
        # Imported at the first load, which comes after the ports and the folders were checked.
        from tfseg.quiet import import_tensorflow

        import_tensorflow()
        from tfseg_serving.servable import load_servable

        return load_servable(folder, self._options.loading)

    def available(self) -> dict[str, list[int]]:
        """Return model name to the versions that answer now, newest first."""
        return self._core.models.available() if self._core else {}

    def stop(self, grace_s: float = 30.0) -> bool:
        """Take no more requests, wait for those under way, unload the models.

        Args:
            grace_s: how long to wait; what is still running then is cancelled.

        Returns:
            Whether every request under way got its answer.
        """
        if self._core is None:
            return True
        core, self._core = self._core, None
        deadline = time.monotonic() + grace_s
        answers_left = self._grpc.stop_accepting(grace_s) if self._grpc else None
        if self._rest is not None:
            self._rest.stop_accepting()
        if self._watcher is not None:
            self._watcher.stop()
        drained = core.wait_until_idle(grace_s)
        if drained and answers_left is not None:
            answers_left.wait(max(0.0, deadline - time.monotonic()))
        core.models.close()
        self._close_fronts()
        return drained

    def _close_fronts(self) -> None:
        for front in (self._rest, self._grpc):
            if front is not None:
                front.close()
        self._rest = self._grpc = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def check_installed() -> None:
    """Look for what the extra ``serving`` installs, before anything that takes time.

    Raises:
        ConfigError: some of it is not there.
    """
    for package in ("uvicorn", "httptools", "tensorflow_serving"):
        import_runtime(package, title=f"{package}, which tfseg serve needs,", extra="serving")


def _usual_concurrency(loading: LoadOptions) -> int:
    """Return how many predictions run at once if nothing else is said."""
    cpus = os.cpu_count() or 1
    if loading.batching is None:
        return 4 * cpus
    filling = loading.batching.rows * ((loading.batching.threads or cpus) + 1)
    return max(4 * cpus, min(filling, _MOST_BATCHED))


def _half_of_memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(MAX_GRPC_BYTES, int(total * _MEMORY_SHARE))
