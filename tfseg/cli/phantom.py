"""``tfseg phantom``: make a synthetic data set."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    default="ct-abdomen",
    show_default=True,
    help="ct-abdomen, mr-brain (volumes, MSD layout) or fundus (photographs, DRIVE layout).",
)
@click.option("--cases", default=12, show_default=True, help="Labelled training cases.")
@click.option("--dicom", is_flag=True, help="Write each CT as a DICOM series too.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same voxels.")
def phantom(out: Path, kind: str, cases: int, dicom: bool, seed: int) -> None:
    """Make a synthetic data set with exact labels in the new folder OUT."""
    from tfseg.cli.console import track
    from tfseg.datasets.phantom import make_phantom

    make_phantom(
        out, kind, cases, dicom=dicom, seed=seed, progress=lambda items: track(items, "Drawing")
    )
    click.echo(f"{out}: {cases} training cases and 2 test cases of {kind}, seed {seed}.")
