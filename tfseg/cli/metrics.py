"""``tfseg metrics``: what can be measured, and how."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tfseg.metrics.registry import MetricInfo

_LEGEND = (
    "(what has a value, its unit) formula [where a map lacks the class]. A and B are the class in "
    "the reference and in the prediction, TP, FP, FN, TN its voxels against the rest, d(A->B) the "
    "distances from each surface voxel of A to the nearest of B, n their number."
)


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def metrics(name: str | None, as_json: bool) -> None:
    """List the metrics: level, unit, formula, and what a map without the class gives.

    With NAME, tell everything about one of them.
    """
    from tfseg.cli.console import print_json
    from tfseg.metrics.registry import METRICS, metric_info

    if name is not None:
        info = metric_info(name)
        if as_json:
            print_json(dataclasses.asdict(info))
        else:
            for field, value in dataclasses.asdict(info).items():
                click.echo(f"{field + ':':<10}{value or '-'}")
        return
    if as_json:
        print_json([dataclasses.asdict(info) for info in METRICS.values()])
        return
    # Lines as wide as the terminal: a table's columns would be too narrow for the formulas.
    page = click.HelpFormatter(width=min(shutil.get_terminal_size().columns, 120))
    page.write_text(_LEGEND)
    for group, members in itertools.groupby(METRICS.values(), key=lambda info: info.group):
        with page.section(group.capitalize()):
            page.write_dl([(info.name, _line(info)) for info in members])
    click.echo(page.getvalue(), nl=False)


def _line(info: MetricInfo) -> str:
    unit = f", {info.unit}" if info.unit else ""
    return f"({info.level}{unit}) {info.summary}. [{info.empty}]"
