"""The command ``query``: scans to a model server, label maps back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tfseg_serving.client import Tls

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=_FILE)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="OUT",
    required=True,
    type=_FILE,
    help="Label map (.nii.gz, .nii, .mha, .nrrd, .png; .dcm with --format) of one scan, or a "
    "folder.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["nifti", "png", "dicom-seg", "rtstruct"]),
    help="Of the label maps. [by OUT's suffix; in a folder png for pictures, else nifti]",
)
@click.option(
    "--seg-type",
    type=click.Choice(["binary", "labelmap"]),
    help="Of dicom-seg: a mask for each label, or one label map. [binary]",
)
@click.option(
    "--codes",
    type=_FILE,
    help="JSON file of coded names (SNOMED CT) for dicom-seg and rtstruct.",
)
@click.option(
    "--report", is_flag=True, help="With dicom-seg: also <name>_report.dcm, volumes in ml."
)
@click.option(
    "--url",
    required=True,
    help="grpc://HOST:8500 or http://HOST:8501; grpcs:// and https:// with TLS.",
)
@click.option("--name", required=True, help="Model name on the server.")
@click.option("--version", type=click.IntRange(0), help="Model version.  [default: the latest]")
@click.option(
    "--protocol",
    type=click.Choice(["tfserving", "kserve"]),
    default="tfserving",
    show_default=True,
    help="kserve is the open inference protocol, version 2: Triton, OpenVINO Model Server.",
)
@click.option(
    "--manifest",
    "manifest_path",
    type=_FILE,
    help="tfseg.json of the export that is served, or its folder: names the labels, and tells what "
    "kind of image the model knows. Needed for patches, dicom-seg and rtstruct.",
)
@click.option(
    "--patches",
    is_flag=True,
    help="Normalise, resample, tile and blend on this side, even if the model has a signature "
    "`segment`. Without one this is done anyway.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Scans under way at once, one being read while another is at the server. Each is held "
    "in memory.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Patches of one scan under way at once.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.001, 86400),
    default=600.0,
    show_default=True,
    help="Seconds to wait for an answer, retries included: for a scan, or for one of its patches.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 20),
    default=3,
    show_default=True,
    help="Calls after the first when the server is not there or too busy, with growing pauses.",
)
@click.option("--compress", is_flag=True, help="Send with gzip: for slow networks only.")
@click.option("--ca", type=_FILE, help="Root certificates to believe, PEM.  [default: the usual]")
@click.option("--cert", type=_FILE, help="Certificate of this client, PEM.")
@click.option("--key", type=_FILE, help="Private key of this client, PEM, not encrypted.")
@click.option(
    "--anyway",
    is_flag=True,
    help="Segment what is plainly another kind of image than the manifest's training images.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.  [default: refuse]")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def query(
    inputs: tuple[Path, ...],
    out: Path,
    format_name: str | None,
    seg_type: str | None,
    codes: Path | None,
    report: bool,
    url: str,
    name: str,
    version: int | None,
    protocol: str,
    manifest_path: Path | None,
    patches: bool,
    jobs: int,
    at_once: int,
    timeout: float,
    retries: int,
    compress: bool,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    anyway: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Send scans to a model server and write the label maps on the scans' own grids.

    INPUT is a NIfTI, MHA, NRRD or picture file, a folder of those, or a DICOM folder or zip. Of
    several patients or series each is segmented that the model is for, and named by hashes of its
    study and series; a table tells what was left out, and why.

    If the model has the signature `segment`, raw intensities are sent and the server does the
    rest; else patches are sent and this side does the rest, which needs --manifest. gRPC is much
    the faster way for volumes.

    dicom-seg and rtstruct need a DICOM scan: the result refers to its slices and bears its
    patient's name, number and study, as DICOM requires to file it. The server sees voxels and
    their spacing only.
    """
    import os
    from dataclasses import asdict

    from tfseg.cli.console import note, print_json, print_left_out, share_bar
    from tfseg.errors import ConfigError, TfsegError
    from tfseg.files import check_outputs
    from tfseg.io import volume_suffix
    from tfseg.io.outputs import Output, report_of
    from tfseg.io.scans import LeftOut, open_scans, refuse_nothing_written
    from tfseg.io.targets import label_targets
    from tfseg.parallel import in_order
    from tfseg.preprocess.likeness import UnlikeError
    from tfseg_serving.client import (
        Client,
        Retries,
        Segmenter,
        keep_freed_memory,
        read_manifest,
    )
    from tfseg_serving.query_work import QueryWork, about_model, refuse_shared_reports

    # gRPC tells the screen of connections that a server closes; errors are told here.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    keep_freed_memory()
    if out.is_file() and not volume_suffix(out):
        raise ConfigError(f"-o must be a folder, or a file of a known format; got {out}.")
    output = Output(format_name, seg_type, codes, report)
    output.check()
    scans, left = click.get_current_context().with_resource(open_scans(inputs))
    pairs = label_targets(scans, str(out), output.suffixes)
    targets = [target for _, target in pairs]
    if report:
        refuse_shared_reports(targets)
    reports = [report_of(target) for target in targets] if report else []
    check_outputs([*targets, *reports], overwrite=overwrite)
    manifest = None if manifest_path is None else read_manifest(manifest_path)
    about = about_model(name, manifest, output)
    written: list[dict[str, Any]] = []
    failed: list[str] = []
    tls = _tls(ca, cert, key)
    with Client(
        url, protocol=protocol, tls=tls, compress=compress, retries=Retries(times=retries)
    ) as client:
        segmenter = Segmenter(
            client,
            name,
            version,
            manifest=manifest,
            patches=patches,
            timeout_s=timeout,
            at_once=at_once,
        )
        with share_bar("Segmenting") as show:
            work = QueryWork(segmenter, output, about, len(pairs), show, manifest, anyway=anyway)
            for (scan, _), result in zip(pairs, in_order(work.one, pairs, jobs), strict=True):
                if scan.is_part and isinstance(result, UnlikeError):
                    left.append(LeftOut(scan.stem, result.reason))
                    continue
                if isinstance(result, TfsegError):
                    if len(pairs) == 1:
                        raise result
                    text = str(result)  # most name the scan themselves
                    note(f"tfseg: {text if str(scan) in text else f'{scan}: {text}'}")
                    failed.append(str(scan))
                    continue
                written.append(result)
                for remark in result["remarks"]:
                    note(f"{scan}: {remark}")
                if not as_json:
                    _show(result)
    if as_json:
        print_json(
            {
                "url": client.url,
                "protocol": protocol,
                "name": name,
                "version": segmenter.version,
                "signature": segmenter.way,
                "written": written,
                "failed": failed,
                "left_out": [asdict(one) for one in left],
            }
        )
    elif left:
        print_left_out(left)
    if failed:
        raise TfsegError(f"{len(failed)} of {len(pairs)} scans could not be segmented.")
    refuse_nothing_written(written, left)


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> Tls | None:
    from tfseg_serving.client import Tls

    return Tls(ca, cert, key) if ca or cert or key else None


def _show(result: dict[str, Any]) -> None:
    from tfseg.cli.console import print_table

    rows = [
        (one["name"] or str(one["value"]), f"{one['voxels']:,}", f"{one['ml']:,.3f}")
        for one in result["labels"]
    ]
    title = f"{result['output']}  {result['seconds']:.1f} s"
    print_table(title, ("label", "voxels", "ml"), rows or [("none", "0", "0")])
