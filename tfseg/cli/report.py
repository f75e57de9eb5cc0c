"""``tfseg report``: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write RUN/report.html: curves, figures per class, worst cases, settings.

    The page holds everything in itself. Run `tfseg evaluate RUN` before, for the figures.
    """
    from tfseg.report import write_report

    click.echo(write_report(run))
