"""``tfseg losses``: the losses, and one of them in detail."""

from __future__ import annotations

from typing import Any

import click

_SHOWN = ("name", "category", "kind", "signature", "formula", "paper", "needs", "aliases")


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def losses(name: str | None, as_json: bool) -> None:
    """List the losses, or show one with its options.

    Train with one or with a sum: `tfseg train --set loss="dice + 0.5*focal(gamma=2)"`.
    """
    from tfseg.cli.console import print_json, print_table
    from tfseg.losses import LOSSES, loss_info

    chosen = list(LOSSES.values()) if name is None else [loss_info(name)]
    if as_json:
        rows = [{key: getattr(info, key) for key in _SHOWN} for info in chosen]
        print_json(rows if name is None else rows[0])
    elif name is None:
        print_table(
            "",
            ["name", "what it is", "formula", "paper"],
            [(info.name, _kind(info), info.formula, info.paper) for info in chosen],
        )
    else:
        _print_one(chosen[0])


def _kind(info: Any) -> str:
    return info.category if info.kind == "supervised" else f"{info.category} term"


def _print_one(info: Any) -> None:
    from tfseg.losses import LossSettings

    click.echo(f"{info.signature}\n\n  {info.formula}\n  {info.paper}\n")
    if info.aliases:
        click.echo(f"Also called {', '.join(info.aliases)}.")
    if info.needs:
        click.echo(f"Needs the {' and the '.join(info.needs)}; `tfseg train` gives it.")
    if info.frequencies:
        click.echo("`tfseg train` fills in the training cases' frequencies where none are given.")
    if info.kind == "supervised":
        common = ", ".join(
            f"{key}={field.default!r}" for key, field in LossSettings.model_fields.items()
        )
        click.echo(f"Options of every loss: {common}.")
    else:
        click.echo("A term of a training scheme: it cannot be trained with by itself.")
