"""``tfseg import-dicom``: DICOM tree in, NIfTI volumes and a manifest out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("import-dicom")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON on stdout.")
def import_dicom(src: Path, out: Path, as_json: bool) -> None:
    """Convert every DICOM series below the folder SRC to a volume in the new folder OUT.

    Names and depth of the files mean nothing. OUT/manifest.json lists every series with its
    geometry, or the rule for which it was refused. Exits with 0 when at least one series was
    converted, else with 2.
    """
    from tfseg.cli.console import print_json, track
    from tfseg.io.dicom.convert import NothingConvertedError, convert_tree

    try:
        manifest = convert_tree(src, out, progress=lambda items: track(items, "Converting"))
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
    click.echo(f"{out}: {manifest['converted']} series converted, {manifest['refused']} refused.")


def _print(manifest: dict[str, Any]) -> None:
    from tfseg.cli.console import print_table

    print_table(
        "Series",
        ("series", "files", "result"),
        [
            (
                f"{entry['modality']} {entry['number']}",
                str(entry["dicom_files"]),
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
    return f"{entry['file']}: {size} voxels of {spacing} mm"
