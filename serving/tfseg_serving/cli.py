"""The command ``query``, and ``serve`` from the module beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfseg_serving.cli_serve import serve

if TYPE_CHECKING:
    from tfseg.volume import Volume
    from tfseg_serving.client import Client
    from tfseg_serving.wire import Signature

__all__ = ["query", "serve"]


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
