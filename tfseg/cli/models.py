"""``tfseg models``."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the networks: dimensions, parameters at default width, paper."""
    from tfseg.cli.console import print_json, print_table
    from tfseg.models.registry import MODELS

    if as_json:
        print_json(
            [
                {
                    "name": info.name,
                    "family": info.family,
                    "dims": list(info.dims),
                    "parameters": {f"{dim}d": info.parameters[dim] for dim in info.dims},
                    "output_stride": info.output_stride,
                    "paper": info.paper,
                }
                for info in MODELS.values()
            ]
        )
        return
    rows = [
        (
            info.name,
            info.family,
            ", ".join(f"{dim}D {info.parameters[dim] / 1e6:.1f} M" for dim in info.dims),
            str(info.output_stride),
            info.paper,
        )
        for info in MODELS.values()
    ]
    print_table("", ("name", "family", "parameters, default width", "stride", "paper"), rows)
