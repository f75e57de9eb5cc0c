"""The options of ``serve`` as data, and what they ask for.

Most have two names: ours, and the one that ``tensorflow_model_server`` gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfseg.errors import ConfigError
from tfseg_serving.status import StatusError
from tfseg_serving.versions import ModelConfig

METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class Flags:
    """The options, as the command line gives them; ``None`` where one is not given."""

    model_dirs: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    rest_port: int = 8501
    rest_api_port: int | None = None
    grpc_port: int = 8500
    port: int | None = None
    grpc_socket_path: str = ""
    grpc_channel_arguments: str = ""
    config: Path | None = None
    config_poll: float = 0.0
    model_name: str = "default"
    model_base_path: str = ""
    poll: float = 1.0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int | None = None
    allow_version_labels_for_unavailable_models: bool = False
    max_request_bytes: int | None = None
    max_memory_bytes: int | None = None
    max_concurrency: int | None = None
    rest_timeout: float = 600.0
    rest_api_timeout_in_ms: int | None = None
    tensor_content: bool = False
    cors: bool = False
    health: bool = False
    batching: bool = False
    batching_parameters: Path | None = None
    enable_per_model_batching_parameters: bool = False
    monitoring_config: Path | None = None
    ssl_config: Path | None = None
    warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    per_process_gpu_memory_fraction: float = 0.0
    as_json: bool = False

    @property
    def rest(self) -> int | None:
        """The REST port: 0 for a free one, ``None`` for none."""
        return self.rest_port if self.rest_api_port is None else self.rest_api_port or None

    @property
    def grpc(self) -> int | None:
        """The gRPC port: 0 for a free one, ``None`` for none."""
        return self.grpc_port if self.port is None else self.port or None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ConfigError: with the options that do.
        """
        given = [
            name
            for name, value in (
                ("MODEL_DIR", self.model_dirs),
                ("--config", self.config),
                ("--model_base_path", self.model_base_path),
            )
            if value
        ]
        # As in tensorflow_model_server, --config wins over --model_base_path.
        if not given or ("MODEL_DIR" in given and len(given) > 1):
            raise ConfigError(
                "give either MODEL_DIR or --config or --model_base_path; got "
                f"{' and '.join(given) or 'neither'}."
            )
        if self.rest and self.rest == self.grpc:
            raise ConfigError(f"--rest-port and --grpc-port must differ; both are {self.rest}.")
        if self.rest is None and self.grpc is None and not self.grpc_socket_path:
            raise ConfigError("--port and --rest_api_port are both 0. Choose a port for one.")
        if self.batching_parameters is not None and not self.batching:
            raise ConfigError(
                "--batching-parameters needs --batching; got the file without it. Add --batching."
            )
        if self.enable_per_model_batching_parameters and not self.batching:
            raise ConfigError("--enable_per_model_batching_parameters needs --batching. Add it.")
        if self.config_poll and self.config is None:
            raise ConfigError("--config-poll needs --config; there is no file to look at.")
        if self.tensorflow_session_parallelism and (
            self.tensorflow_intra_op_parallelism or self.tensorflow_inter_op_parallelism
        ):
            raise ConfigError(
                "give either --tensorflow_session_parallelism or the intra and inter op "
                "parallelism; got both."
            )

    def models(self, exports: Path) -> list[ModelConfig]:
        """Return what to serve; run folders are exported below ``exports`` first.

        Raises:
            DataError: a folder or a file is not what it should be.
            ConfigError: the configuration asks for what is not served.
        """
        from tfseg_serving.config import models_from_config, models_from_folders
        from tfseg_serving.runs import with_runs_exported

        if self.config is not None:
            return models_from_config(self.config)
        if self.model_base_path:
            return [ModelConfig(self.model_name, Path(self.model_base_path).resolve())]
        return models_from_folders(with_runs_exported(self.model_dirs, exports))

    def options(self) -> Any:
        """Return the :class:`tfseg_serving.server.ServerOptions`; reads the files named.

        Raises:
            DataError: a file cannot be read.
            ConfigError: a file does not hold what it should.
        """
        from tfseg_serving.server import ServerOptions, check_installed
        from tfseg_serving.tls import tls_from_file
        from tfseg_serving.versions import Timing

        check_installed()
        timeout_ms = self.rest_api_timeout_in_ms
        return ServerOptions(
            host=self.host,
            rest_port=self.rest,
            grpc_port=self.grpc,
            grpc_socket_path=self.grpc_socket_path,
            max_request_bytes=self.max_request_bytes,
            max_memory_bytes=self.max_memory_bytes,
            max_concurrency=self.max_concurrency,
            rest_timeout_s=self.rest_timeout if timeout_ms is None else timeout_ms / 1000,
            tensor_content=self.tensor_content,
            cors=self.cors,
            health=self.health,
            metrics_path=self._metrics_path(),
            tls=tls_from_file(self.ssl_config) if self.ssl_config else None,
            channel_arguments=self._channel_arguments(),
            timing=Timing(
                self.poll,
                self.max_num_load_retries,
                max(0.0, self.load_retry_interval_micros / 1e6),
            ),
            config_file=self.config,
            config_poll_s=self.config_poll,
            labels_for_unavailable=self.allow_version_labels_for_unavailable_models,
            load_threads=None if self.num_load_threads is None else max(1, self.num_load_threads),
            loading=self._loading(),
        )

    def _loading(self) -> Any:
        from tfseg_serving.batching import BatchingParameters, BatchThreads
        from tfseg_serving.loading import LoadOptions
        from tfseg_serving.protos import read_message

        batching = BatchingParameters() if self.batching else None
        if self.batching_parameters is not None:
            message = read_message(
                self.batching_parameters, "BatchingParameters", "--batching-parameters"
            )
            try:
                batching = BatchingParameters.from_message(message)
            except StatusError as error:
                raise ConfigError(f"{self.batching_parameters}: {error.message}.") from error
        threads = self.tensorflow_session_parallelism
        return LoadOptions(
            batching=batching,
            batching_of_model=self.enable_per_model_batching_parameters,
            batch_threads=BatchThreads(batching.threads if batching else None),
            warm_up=self.warmup,
            warmup_iterations=self.num_request_iterations_for_warmup,
            intra_op_threads=threads or self.tensorflow_intra_op_parallelism,
            inter_op_threads=threads or self.tensorflow_inter_op_parallelism,
            gpu_memory_fraction=self.per_process_gpu_memory_fraction,
        )

    def _metrics_path(self) -> str | None:
        from tfseg_serving.protos import read_message

        if self.monitoring_config is None:
            return None
        message = read_message(self.monitoring_config, "MonitoringConfig", "--monitoring-config")
        if not message.prometheus_config.enable:
            return None
        path = str(message.prometheus_config.path or METRICS_PATH)
        if not path.startswith("/"):
            raise ConfigError(
                f"{self.monitoring_config}: path must begin with a slash; got {path!r}."
            )
        return path

    def _channel_arguments(self) -> dict[str, int | str]:
        arguments: dict[str, int | str] = {}
        for pair in filter(None, self.grpc_channel_arguments.split(",")):
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise ConfigError(f"--grpc_channel_arguments must be name=value,...; got {pair!r}.")
            digits = value.removeprefix("-")
            arguments[name] = int(value) if digits.isascii() and digits.isdigit() else value
        return arguments
