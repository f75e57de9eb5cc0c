"""``tfseg metrics``: what can be measured, and how."""

from __future__ import annotations

import dataclasses

import click


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def metrics(name: str | None, as_json: bool) -> None:
    """List the metrics: formula, unit, what an empty map gives.

    With NAME, tell everything about one of them.
    """
    from tfseg.cli.console import print_json, print_table
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
    print_table(
        "Metrics",
        ("name", "level", "unit", "formula", "where a map lacks the class"),
        [(info.name, info.level, info.unit, info.summary, info.empty) for info in METRICS.values()],
    )
