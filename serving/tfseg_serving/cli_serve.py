"""The command ``serve``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from tfseg_serving.signals import StopSignals

_PORT = click.IntRange(0, 65535)
_FILE = click.Path(path_type=Path)
_SECONDS = click.FloatRange(0, 86400)
_TRUE, _FALSE = {"true", "1"}, {"false", "0"}


class _ServeCommand(click.Command):
    """Takes switches as ``tensorflow_model_server`` does, too: ``--name=true``, ``=false``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        switches = {
            name: option
            for option in self.params
            if isinstance(option, click.Option) and option.is_flag
            for name in option.opts
        }
        plain: list[str] = []
        for argument in args:
            name, equals, value = argument.partition("=")
            option = switches.get(name) if equals else None
            if option is None:
                plain.append(argument)
            elif value.lower() in _TRUE:
                plain.append(name)
            elif value.lower() in _FALSE:
                plain += option.secondary_opts[:1]
            else:
                raise click.BadParameter(f"{name} takes true or false; got {value!r}.", ctx)
        return super().parse_args(ctx, plain)


@click.command(cls=_ServeCommand)
@click.argument("model_dirs", metavar="[MODEL_DIR]...", nargs=-1, type=_FILE)
@click.option("--rest-port", type=_PORT, default=8501, show_default=True, help="0: any free port.")
@click.option("--rest_api_port", type=_PORT, help="TF-Serving's name of it; 0: no REST.")
@click.option("--grpc-port", type=_PORT, default=8500, show_default=True, help="0: any free port.")
@click.option("--port", type=_PORT, help="TF-Serving's name of it; 0: no gRPC.")
@click.option("--grpc_socket_path", default="", help="Offer gRPC on this unix socket, too.")
@click.option(
    "--grpc_channel_arguments",
    default="",
    help="gRPC's own settings, such as grpc.max_connection_age_ms=2000; commas between them.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to bind. There is no authentication but client certificates (--ssl-config): use "
    "0.0.0.0 on a trusted network only.",
)
@click.option("--model_name", default="default", help="Name of the model in --model_base_path.")
@click.option("--model_base_path", default="", help="Folder of one model's versions.")
@click.option(
    "--config",
    "--model_config_file",
    "config",
    type=_FILE,
    help="A TF-Serving models.config instead of MODEL_DIR.",
)
@click.option(
    "--config-poll",
    "--model_config_file_poll_wait_seconds",
    "config_poll",
    type=_SECONDS,
    default=0.0,
    help="Look at --config again so often, in seconds.  [default: never]",
)
@click.option(
    "--poll",
    "--file_system_poll_wait_seconds",
    "poll",
    type=_SECONDS,
    default=1.0,
    show_default=True,
    help="Seconds between two looks for new versions; 0 looks once.",
)
@click.option(
    "--max_num_load_retries",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Tries after the first failed load of a new version.",
)
@click.option(
    "--load_retry_interval_micros",
    type=int,
    default=60_000_000,
    show_default=True,
    help="Microseconds between those tries.",
)
@click.option(
    "--num_load_threads",
    type=click.IntRange(0),
    help="Versions that load at once; 0: one.  [default: one of each model]",
)
@click.option(
    "--allow_version_labels_for_unavailable_models",
    is_flag=True,
    help="Let a new label name a version that is not available yet.",
)
@click.option(
    "--max-request-bytes",
    type=click.IntRange(1, 2**31 - 1),
    help="Largest request.  [default: 2 GiB - 1 for gRPC, 1 GiB for REST]",
)
@click.option(
    "--max-memory-bytes",
    type=click.IntRange(1),
    help="Bytes of all requests that are held at once.  [default: half of the memory]",
)
@click.option(
    "--max-concurrency",
    "--grpc_max_threads",
    "--rest_api_num_threads",
    "max_concurrency",
    type=click.IntRange(1, 1024),
    help="Predictions that run at once; 8 times as many may wait.  [default: 4 for each CPU; "
    "with --batching, as many as fill the batches that run and one more, at most 256]",
)
@click.option(
    "--rest-timeout",
    type=click.FloatRange(0.001, 86400),
    default=600.0,
    show_default=True,
    help="Seconds that a prediction over REST may take.",
)
@click.option(
    "--rest_api_timeout_in_ms",
    type=click.IntRange(1),
    help="TF-Serving's name of it, in milliseconds.",
)
@click.option(
    "--tensor-content",
    "--enable_serialization_as_tensor_content",
    "tensor_content",
    is_flag=True,
    help="Answer gRPC tensors as tensor_content, which is quicker to read.",
)
@click.option(
    "--cors",
    "--rest_api_enable_cors_support",
    "cors",
    is_flag=True,
    help="Let web pages of any origin read REST answers.",
)
@click.option(
    "--health",
    "--enable_grpc_healthcheck_service",
    "health",
    is_flag=True,
    help="Offer gRPC's health service.",
)
@click.option(
    "--batching",
    "--enable-batching",
    "--enable_batching",
    "batching",
    is_flag=True,
    help="Join requests that arrive together along their first axis. Not for `segment`.",
)
@click.option(
    "--batching-parameters",
    "--batching_parameters_file",
    "batching_parameters",
    type=_FILE,
    help="A BatchingParameters text file: sizes and times.",
)
@click.option(
    "--enable_per_model_batching_parameters",
    is_flag=True,
    help="Let a version's batching_params.pbtxt replace those sizes and times.",
)
@click.option(
    "--monitoring-config",
    "--monitoring_config_file",
    "monitoring_config",
    type=_FILE,
    help="A MonitoringConfig text file: counters for Prometheus on the REST port.",
)
@click.option(
    "--ssl-config",
    "--ssl_config_file",
    "ssl_config",
    type=_FILE,
    help="An SSLConfig text file: TLS on both ports, with client certificates if it says so.",
)
@click.option(
    "--warmup/--no-warmup",
    "--enable_model_warmup/--no-enable_model_warmup",
    "warmup",
    default=True,
    help="Run a version's recorded requests before it is available.  [default: --warmup]",
)
@click.option(
    "--num_request_iterations_for_warmup",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How often each of them.",
)
@click.option(
    "--tensorflow_session_parallelism",
    type=click.IntRange(0),
    default=0,
    help="Threads of a model's run.  [default: one a CPU]",
)
@click.option(
    "--tensorflow_intra_op_parallelism",
    type=click.IntRange(0),
    default=0,
    help="Threads of one operation.  [default: one a CPU]",
)
@click.option(
    "--tensorflow_inter_op_parallelism",
    type=click.IntRange(0),
    default=0,
    help="Operations of one run at once.  [default: one a CPU]",
)
@click.option(
    "--per_process_gpu_memory_fraction",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share of a GPU's memory.  [default: as much as is needed]",
)
@click.option("--json", "as_json", is_flag=True, help="Print models and URLs as JSON when ready.")
def serve(**given: Any) -> None:
    """Serve SavedModels over the TF-Serving REST and gRPC API.

    MODEL_DIR is the folder of a model (`exports/liver`, with its versions in it), one version
    (`exports/liver/1`), a folder of models (`exports`), or a run (`runs/latest`), which is exported
    first. New versions are found and swapped in while the server runs. SIGTERM, SIGHUP and Ctrl-C
    let requests under way finish for 30 seconds.

    A command line written for tensorflow_model_server works here: options whose names have
    underscores are its own.
    """
    import os
    import tempfile

    from tfseg.cli.console import note
    from tfseg_serving.signals import StopAsked, StopSignals

    signals = StopSignals()
    try:
        signals.install()
        # gRPC writes what a client says of itself to the screen as it came; errors are told here.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from tfseg_serving.flags import Flags

        flags = Flags(**given)
        flags.check()
        options = flags.options()
        with tempfile.TemporaryDirectory(prefix="tfseg-serve-") as exports:
            drained = _serve(flags.models(Path(exports)), options, signals, flags.as_json)
    except StopAsked:
        signals.ignore()
        with contextlib.suppress(OSError):
            note("stopped before the server answered.")
        return
    except BaseException:
        signals.uninstall()
        raise
    signals.ignore()
    if not drained:
        _end_at_once("some requests took longer than 30 s and were cut off.")


def _serve(models: Any, options: Any, signals: StopSignals, as_json: bool) -> bool:
    """Serve until a signal comes; tell whether every request then got its answer."""
    import sys

    from tfseg.cli.console import log_to_screen, note, print_json
    from tfseg_serving.server import Server

    server = Server(models, options)
    server.prepare()
    try:
        log_to_screen("tfseg_serving")
        signals.hold()
        server.answer()
        available = server.available()
        # A screen, pipe or disk that takes no more is no reason to end what others rely on.
        with contextlib.suppress(OSError):
            if as_json:
                print_json({"rest": server.rest_url, "grpc": server.grpc_url, "models": available})
            else:
                urls = " and ".join(filter(None, [server.grpc_url, server.rest_url]))
                for name, versions in available.items():
                    path = f"/v1/models/{name}" if server.rest_url else ""
                    click.echo(f"{name} version {', '.join(map(str, versions))}: {urls}{path}")
            # Whoever started us waits for these lines, often through a pipe.
            sys.stdout.flush()
        signals.wait()
        with contextlib.suppress(OSError):
            note("stopping: requests under way may finish within 30 s")
    finally:
        drained = server.stop()
    return drained


def _end_at_once(message: str) -> NoReturn:
    """Say why and end the process, which would wait for the threads of those requests."""
    import os
    import sys

    with contextlib.suppress(OSError):
        click.echo(f"tfseg: {message}", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1)
