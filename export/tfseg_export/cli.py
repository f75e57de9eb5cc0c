"""``tfseg export``."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("run", default="runs/latest", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    required=True,
    metavar="FORMAT",
    help="savedmodel (TensorFlow Serving), onnx, tensorrt, tflite, openvino, or triton (a model "
    "repository for Triton and OpenVINO Model Server).",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder that takes NAME/VERSION (savedmodel, triton) or NAME-FORMAT.  [default: exports; "
    "for triton exports/triton]",
)
@click.option("--name", help="Name of the exported model; default: the run folder's.")
@click.option(
    "--version",
    type=int,
    metavar="N",
    help="Version of a savedmodel or for triton; default: the next free one. One that exists is "
    "never replaced.",
)
@click.option(
    "--new-lineage",
    is_flag=True,
    help="Take a version whose labels, channels or plan differ from the last one's.",
)
@click.option(
    "--precision",
    metavar="P",
    help="fp32 (default) or, for all but savedmodel, fp16: convolutions in half precision (onnx, "
    "tensorrt, triton) or weights stored in it (tflite, openvino).",
)
@click.option(
    "--compute-capability",
    metavar="SM,...",
    help="GPUs to compile a TensorRT engine for, such as sm80,sm86,sm89; default: every one "
    "that the installed TensorRT can compile this network for.",
)
@click.option(
    "--accelerator",
    metavar="A",
    help="What Triton shall run the graph with on GPUs: tensorrt, compiled when the model is "
    "loaded; default: ONNX Runtime's own kernels.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def export(
    run: Path,
    format_name: str,
    out: Path | None,
    name: str | None,
    version: int | None,
    new_lineage: bool,
    precision: str | None,
    compute_capability: str | None,
    accelerator: str | None,
    as_json: bool,
) -> None:
    """Export RUN (default: runs/latest) to run elsewhere.

    Every export is run on the spot against the network it was made from; the differences are
    written to parity.json beside it, and an export that differs too much is refused. No export
    replaces another run's.
    """
    from tfseg.cli.console import note, print_json
    from tfseg_export.export import export_run

    capabilities = compute_capability.lower().split(",") if compute_capability is not None else []
    artifact = export_run(
        run,
        format_name,
        out,
        name=name,
        version=version,
        new_lineage=new_lineage,
        precision=precision,
        capabilities=tuple(capability.strip() for capability in capabilities),
        accelerator=accelerator,
        say=note if sys.stderr.isatty() else lambda message: None,
    )
    if as_json:
        print_json(
            {
                "path": str(artifact.path),
                "format": artifact.format,
                "precision": artifact.precision,
                "size_bytes": artifact.size_bytes,
                "parity": artifact.parity,
                **({"remark": artifact.remark} if artifact.remark else {}),
            }
        )
        return
    if artifact.remark:
        note(artifact.remark)
    click.echo(f"{artifact.path}  {artifact.size_bytes / 1e6:.1f} MB")
    click.echo(parity_line(artifact.parity))


def parity_line(parity: dict[str, object]) -> str:
    """Return the parity report's figures in one line."""
    line = (
        f"parity passed: probabilities differ by at most {parity['max_abs']:.1e} "
        f"(mean {parity['mean_abs']:.1e}), labels agree on {parity['label_agreement']:.4%}"
    )
    segment = parity.get("segment")
    if isinstance(segment, dict):
        line += f", whole volumes on {segment['label_agreement']:.4%}"
    return line
