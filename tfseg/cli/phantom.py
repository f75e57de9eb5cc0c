"""``tfseg phantom``: make a synthetic data set."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    help="ct-abdomen (default), mr-brain (both in the MSD layout), fundus (in the DRIVE layout).",
)
@click.option(
    "--layout",
    help="Write a tiny example of this published layout instead (`tfseg datasets` lists them).",
)
@click.option("--cases", default=12, show_default=True, help="Labelled training cases.")
@click.option("--dicom", is_flag=True, help="Write each CT as a DICOM series too.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same voxels.")
def phantom(
    out: Path, kind: str | None, layout: str | None, cases: int, dicom: bool, seed: int
) -> None:
    """Make a synthetic data set with exact labels in the new folder OUT.

    Without --layout the images look like scans; with it they are boxes of different brightness,
    written exactly as the publisher of a data set writes it.
    """
    from tfseg.cli.console import track
    from tfseg.errors import ConfigError

    if layout is not None:
        if kind is not None or dicom:
            raise ConfigError("--layout writes its own files; leave --kind and --dicom out.")
        from tfseg.datasets import make_example

        make_example(out, layout, cases, seed)
        click.echo(f"{out}: {cases} training cases in the layout {layout}, seed {seed}.")
        return
    kind = kind or "ct-abdomen"
    from tfseg.datasets.phantom import make_phantom

    make_phantom(
        out, kind, cases, dicom=dicom, seed=seed, progress=lambda items: track(items, "Drawing")
    )
    click.echo(f"{out}: {cases} training cases and 2 test cases of {kind}, seed {seed}.")
