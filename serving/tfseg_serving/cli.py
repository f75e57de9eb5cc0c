"""The commands ``serve`` and ``query``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tfseg.volume import Volume
    from tfseg_serving.client import Client
    from tfseg_serving.wire import Signature

_PORT = click.IntRange(0, 65535)


@click.command()
@click.argument("model_dirs", metavar="[MODEL_DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--rest-port", type=_PORT, default=8501, show_default=True, help="0: any free port.")
@click.option("--grpc-port", type=_PORT, default=8500, show_default=True, help="0: any free port.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to bind. There is no authentication: use 0.0.0.0 on a trusted network only.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TF-Serving models.config instead of MODEL_DIR.",
)
@click.option(
    "--max-request-bytes",
    type=click.IntRange(1, 2**31 - 1),
    help="Largest request.  [default: 2 GiB - 1 for gRPC, 1 GiB for REST]",
)
@click.option(
    "--max-concurrency",
    type=click.IntRange(1, 1024),
    help="Predictions that run at once.  [default: 4 for each CPU]",
)
@click.option(
    "--rest-timeout",
    type=click.FloatRange(0.001, 86400),
    default=600.0,
    show_default=True,
    help="Seconds that a prediction over REST may take.",
)
@click.option(
    "--tensor-content",
    is_flag=True,
    help="Answer gRPC tensors as tensor_content, TF-Serving's "
    "--enable_serialization_as_tensor_content.",
)
@click.option("--json", "as_json", is_flag=True, help="Print models and URLs as JSON when ready.")
def serve(
    model_dirs: tuple[Path, ...],
    rest_port: int,
    grpc_port: int,
    host: str,
    config: Path | None,
    max_request_bytes: int | None,
    max_concurrency: int | None,
    rest_timeout: float,
    tensor_content: bool,
    as_json: bool,
) -> None:
    """Serve SavedModels over the TF-Serving REST and gRPC API.

    MODEL_DIR is the folder of a model (`exports/unet`, with its versions in it), one version
    (`exports/unet/1`) or a folder of models (`exports`). New versions are found and swapped in
    while the server runs. SIGTERM and Ctrl-C let requests under way finish for 30 seconds.
    """
    import logging
    import signal
    import sys
    import threading

    from tfseg.cli.console import note, print_json
    from tfseg.errors import ConfigError, TfsegError
    from tfseg_serving.config import models_from_config, models_from_folders
    from tfseg_serving.server import Server, ServerOptions

    if bool(model_dirs) == (config is not None):
        given = "both" if config else "neither"
        raise ConfigError(f"give either MODEL_DIR or --config; got {given}.")
    models = models_from_config(config) if config else models_from_folders(model_dirs)
    if rest_port and rest_port == grpc_port:
        raise ConfigError(f"--rest-port and --grpc-port must differ; both are {rest_port}.")
    options = ServerOptions(
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port,
        max_request_bytes=max_request_bytes,
        max_concurrency=max_concurrency,
        rest_timeout_s=rest_timeout,
        tensor_content=tensor_content,
    )
    server = Server(models, options)
    server.start()
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("tfseg_serving").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    available = server.available()
    if as_json:
        print_json({"rest": server.rest_url, "grpc": server.grpc_url, "models": available})
    else:
        for name, versions in available.items():
            click.echo(
                f"{name} version {', '.join(map(str, versions))}: {server.grpc_url} and "
                f"{server.rest_url}/v1/models/{name}"
            )
    # Whoever started us waits for these lines, often through a pipe.
    sys.stdout.flush()
    stop.wait()
    note("stopping: requests under way may finish within 30 s")
    if not server.stop():
        raise TfsegError("some requests took longer than 30 s and were cut off.")


@click.command()
@click.argument(
    "inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="Label map (.nii.gz, .nii, .mha, .nrrd, .png) of one scan, or a folder.",
)
@click.option("--url", required=True, help="grpc://HOST:8500 or http://HOST:8501.")
@click.option("--name", required=True, help="Model name on the server.")
@click.option("--version", type=click.IntRange(0), help="Model version.  [default: the latest]")
@click.option(
    "--timeout",
    type=click.FloatRange(0.001, 86400),
    default=600.0,
    show_default=True,
    help="Seconds to wait for one scan.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def query(
    inputs: tuple[Path, ...],
    out: Path,
    url: str,
    name: str,
    version: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Send scans to a model server and write the label maps on the scans' own grids.

    INPUT is a NIfTI, MHA, NRRD or picture file, a folder of those, or a DICOM folder. Raw
    intensities are sent: the server normalises, resamples and tiles. gRPC is much the faster
    way for volumes.
    """
    import time

    import numpy as np

    from tfseg.cli.console import print_json, track
    from tfseg.errors import ConfigError
    from tfseg.io import read_volume, volume_suffix, write_volume
    from tfseg.io.targets import label_targets
    from tfseg_serving.client import SEGMENT, connect

    if out.is_file() and not volume_suffix(out):
        raise ConfigError(f"-o must be a folder, or a file of a known format; got {out}.")
    pairs = label_targets([str(path) for path in inputs], str(out))
    written: list[dict[str, Any]] = []
    with connect(url) as client:
        signature: Signature | None = None
        for source, target in track(pairs, "Segmenting"):  # one scan in memory at a time
            volume = read_volume(source)
            if signature is None:
                signature = _segment_signature(client, name, version, timeout)
            start = time.perf_counter()
            labels = _segment(client, volume, signature, source, name, version, timeout)
            seconds = time.perf_counter() - start
            write_volume(volume.with_array(labels), target)
            present = [int(value) for value in np.unique(labels)]
            written.append(
                {
                    "input": str(source),
                    "output": str(target),
                    "seconds": round(seconds, 3),
                    "labels": present,
                }
            )
            if not as_json:
                click.echo(f"{target}: labels {present} in {seconds:.1f} s")
    if as_json:
        print_json({"url": url, "name": name, "signature": SEGMENT, "results": written})


def _segment_signature(
    client: Client, name: str, version: int | None, timeout_s: float
) -> Signature:
    from tfseg.errors import ServerError
    from tfseg_serving.client import SEGMENT

    found = client.metadata(name, version, timeout_s)
    signature = found.signatures.get(SEGMENT)
    if signature is None or "volume" not in signature.inputs or "labels" not in signature.outputs:
        raise ServerError(
            f"the model {name!r} at {client.url} has no signature {SEGMENT!r} that takes 'volume' "
            f"and returns 'labels'; it has {', '.join(sorted(found.signatures))}. "
            "Export it again with `tfseg export --format savedmodel`."
        )
    return signature


def _segment(
    client: Client,
    volume: Volume,
    signature: Signature,
    source: Path,
    name: str,
    version: int | None,
    timeout_s: float,
) -> Any:
    """Return the label map (z, y, x) uint8 on the grid of ``volume``."""
    import numpy as np

    from tfseg.errors import DataError, ServerError

    canonical, way = volume.canonical()
    shape = signature.inputs["volume"].shape
    if shape is not None and len(shape) == 4 and shape[3] not in {-1, volume.channels}:
        raise DataError(
            f"{source}: the model {name!r} takes {shape[3]} channels; the scan has "
            f"{volume.channels}."
        )
    inputs = {"volume": np.ascontiguousarray(canonical.channel_last(), np.float32)}
    if "spacing_mm" in signature.inputs:
        inputs["spacing_mm"] = np.array(canonical.spacing_mm, np.float32)
    outputs = client.predict(name, inputs, version=version, timeout_s=timeout_s)
    labels = outputs.get("labels")
    if labels is None or labels.shape != canonical.shape or labels.dtype != np.uint8:
        got = "nothing" if labels is None else f"{labels.dtype} {labels.shape}"
        raise ServerError(
            f"the model {name!r} at {client.url} must return labels uint8 {canonical.shape} for "
            f"{source}; got {got}. Is it an export of tfseg?"
        )
    return np.ascontiguousarray(way.undo(labels))
