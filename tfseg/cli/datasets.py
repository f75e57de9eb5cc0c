"""``tfseg datasets``: list the layouts that are recognised."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def datasets(as_json: bool) -> None:
    """List the data set layouts; a folder is recognised from its content."""
    from tfseg.cli.console import print_json, print_table
    from tfseg.datasets import ADAPTERS

    if as_json:
        print_json(
            [
                {
                    "name": adapter.name,
                    "title": adapter.title,
                    "layout": adapter.layout,
                    "dims": adapter.dims,
                    "reference": adapter.reference,
                    "licence": adapter.licence,
                    "registration": adapter.registration,
                    "ids": adapter.ids or (adapter.name,),
                }
                for adapter in ADAPTERS
            ]
        )
        return
    print_table(
        "Data set layouts",
        ("name", "title", "dims", "recognised by", "reference", "licence"),
        [
            (
                adapter.name,
                adapter.title,
                str(adapter.dims),
                adapter.layout,
                adapter.reference,
                adapter.licence + (" (registration)" if adapter.registration else ""),
            )
            for adapter in ADAPTERS
        ],
    )
