"""``tfseg import-dicom``: DICOM tree in, NIfTI volumes and a manifest out."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import click


@click.command("import-dicom")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--allow-gaps",
    is_flag=True,
    help="Interpolate missing slices instead of refusing the volume; the manifest says where.",
)
@click.option(
    "--pet",
    type=click.Choice(["suv", "stored"]),
    default="suv",
    show_default=True,
    help="Values of PET: standardised uptake by body weight where the header allows it, or the "
    "stored unit.",
)
@click.option(
    "--orientation",
    type=click.Choice(
        ["".join(code) for one in product("RL", "AP", "SI") for code in permutations(one)],
        case_sensitive=False,
    ),
    metavar="CODE",
    help="Turn and flip the axes so that x, y and z run to these sides, such as RAS or LPS; "
    "nothing is interpolated.  [default: as they are stored]",
)
@click.option(
    "--identify",
    is_flag=True,
    help="Also write SeriesInstanceUIDs, the names of damaged files, what people typed "
    "(descriptions, protocols), and the patient's sex, age, weight and size: together they may "
    "tell who the patient is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON on stdout.")
def import_dicom(
    src: Path,
    out: Path,
    allow_gaps: bool,
    pet: str,
    orientation: str | None,
    identify: bool,
    as_json: bool,
) -> None:
    """Convert every DICOM volume in SRC to a NIfTI file in the new folder OUT.

    SRC is a folder of any depth and any file names, a zip of one, or a single file. A series
    that holds several volumes (echoes, b-values, time points, orientations) becomes several
    files. Gantry tilt and uneven slice spacing are corrected by resampling. OUT/manifest.json
    lists every volume with its geometry and what was decided, or the rule for which it was
    refused. Exits with 0 when at least one volume was converted, else with 2.
    """
    from tfseg.cli.console import note, print_json, track
    from tfseg.io.dicom.convert import NothingConvertedError, convert_tree

    try:
        manifest = convert_tree(
            src,
            out,
            progress=lambda items: track(items, "Converting"),
            damaged=lambda file, reason: note(f"skipped damaged file {file}: {reason}"),
            allow_gaps=allow_gaps,
            suv=pet == "suv",
            orientation=orientation,
            identify=identify,
        )
    except NothingConvertedError as error:
        if as_json:
            print_json(error.manifest)
        else:
            _print(error.manifest)
        raise
    if as_json:
        print_json(manifest)
        return
    _print(manifest)
    click.echo(f"{out}: {manifest['converted']} volumes converted, {manifest['refused']} refused.")


def _print(manifest: dict[str, Any]) -> None:
    from tfseg.cli.console import print_table

    print_table(
        "Volumes",
        ("series", "slices", "result"),
        [
            (
                " ".join(
                    filter(
                        None,
                        (
                            entry["modality"],
                            str(entry["number"]),
                            entry["description"],
                            entry["label"],
                        ),
                    )
                ),
                str(entry["slices"]),
                _result(entry),
            )
            for entry in manifest["series"]
        ],
    )


def _result(entry: dict[str, Any]) -> str:
    if entry["file"] is None:
        return f"refused: {entry['reason']}"
    size = " x ".join(map(str, entry["shape"]))
    spacing = " x ".join(f"{value:.3g}" for value in entry["spacing_mm"])
    said = "".join(f"; {decision}" for decision in entry["decisions"])
    return f"{entry['file']}: {size} voxels of {spacing} mm{said}"
