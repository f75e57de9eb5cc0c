"""``tfseg predict``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tfseg.inference.predictor import Predictor

_SUFFIXES = {"nifti": (".nii.gz", ".nii"), "png": (".png",)}


@click.command()
@click.argument("model", type=click.Path())
@click.argument("inputs", nargs=-1, required=True, type=click.Path(), metavar="INPUT...")
@click.option("-o", "--output", required=True, type=click.Path(), help="File or folder to write.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(_SUFFIXES)),
    help="Of the label maps. [by OUTPUT's suffix; in a folder png for pictures, else nifti]",
)
@click.option("--save-probabilities", is_flag=True, help="Also write <name>.npz, (z, y, x, class).")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def predict(
    model: str,
    inputs: tuple[str, ...],
    output: str,
    format_name: str | None,
    save_probabilities: bool,
    as_json: bool,
) -> None:
    """Segment scans with a run or an exported model.

    MODEL is a run folder or any exported artifact. INPUT is a file (NIfTI, MHA, NRRD, PNG, TIFF,
    JPEG, GIF), a DICOM folder, or a folder of such files. Label maps have their scan's grid.
    """
    from tfseg.cli.console import note, print_json
    from tfseg.errors import TfsegError
    from tfseg.inference.predictor import Predictor
    from tfseg.io.targets import label_targets

    pairs = label_targets(inputs, output, _SUFFIXES[format_name] if format_name else ())
    if save_probabilities:
        _refuse_shared_names([target for _, target in pairs])
    predictor = Predictor.open(model)
    labels = predictor.manifest.plan.labels
    written, failed = [], []
    for scan, target in pairs:
        started = time.monotonic()
        try:
            volumes_ml = _segment(predictor, scan, target, save_probabilities)
        except TfsegError as error:
            if len(pairs) == 1:
                raise
            note(f"tfseg: {scan}: {error}")
            failed.append(str(scan))
            continue
        seconds = time.monotonic() - started
        note(f"{target}  {seconds:.1f} s")
        written.append(
            {
                "input": str(scan),
                "output": str(target),
                "seconds": round(seconds, 3),
                "volumes_ml": dict(zip(labels[1:], volumes_ml[1:], strict=True)),
            }
        )
    if as_json:
        print_json({"model": model, "written": written, "failed": failed})
    if failed:
        raise TfsegError(f"{len(failed)} of {len(pairs)} scans could not be segmented.")


def _refuse_shared_names(targets: list[Path]) -> None:
    from tfseg.errors import ConfigError

    seen: dict[Path, Path] = {}
    for target in targets:
        other = seen.setdefault(_probabilities_of(target), target)
        if other != target:
            raise ConfigError(
                f"{other} and {target} would both write their probabilities to "
                f"{_probabilities_of(target)}. Run them into two folders."
            )


def _probabilities_of(target: Path) -> Path:
    from tfseg.io import volume_stem

    return target.with_name(volume_stem(target) + ".npz")


def _segment(predictor: Predictor, scan: Path, target: Path, probabilities: bool) -> list[float]:
    import numpy as np

    from tfseg.cli.console import share_bar
    from tfseg.files import atomic_path
    from tfseg.io import read_volume, write_volume

    volume = read_volume(scan)
    with share_bar(scan.name) as advance:
        result = predictor.predict(volume, advance)
    write_volume(result, target)
    if probabilities:
        with atomic_path(_probabilities_of(target)) as temporary:
            np.savez_compressed(temporary, probabilities=predictor.probabilities(volume))
    counts = np.bincount(result.array.ravel(), minlength=predictor.manifest.plan.num_classes)
    voxel_ml = float(np.prod(result.spacing_mm)) / 1000
    return [round(int(count) * voxel_ml, 3) for count in counts]
