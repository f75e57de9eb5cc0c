"""``tfseg cache``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--runs", type=click.Path(), default="runs", help="Folder of the runs. [runs]")
@click.option("--unused", is_flag=True, help="Remove what no run in that folder was trained on.")
@click.option("--clear", is_flag=True, help="Remove all of it.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def cache(runs: str, unused: bool, clear: bool, as_json: bool) -> None:
    """List or remove the prepared volumes that training keeps beside the runs.

    Runs share them where data set and plan agree; folds do with one plan: `tfseg plan DATA -o
    plan.json`, then `tfseg train --plan plan.json --fold K`. The next run makes again what was
    removed. What a running training uses is left.
    """
    from tfseg.cli.console import note, print_json, print_table
    from tfseg.errors import DataError
    from tfseg.pipeline.tidy import find_caches, remove_cache

    root = Path(runs)
    if not root.is_dir():
        raise DataError(f"{root} is no folder of runs. Name one with --runs.")
    found = find_caches(root)
    gone = [one for one in found if clear or (unused and not one.runs)]
    busy = [one for one in gone if not remove_cache(one)]
    for one in busy:
        note(f"{one.folder}: in use by a running training; left.")
    removed = [one for one in gone if one not in busy]
    if as_json:
        documents = [{**one.document(), "removed": one in removed} for one in found]
        print_json({"caches": documents, "bytes": sum(one.size for one in found)})
        return
    if found:
        rows = [_row(one, one in removed) for one in found]
        print_table("", ("cache", "data", "cases", "size", "last used", "runs"), rows)
    freed = f"; removed {_size(sum(one.size for one in removed))}" if unused or clear else ""
    click.echo(f"{len(found)} caches, {_size(sum(one.size for one in found))}{freed}")


def _row(one: Any, removed: bool) -> tuple[str, ...]:
    return (
        one.folder.name + (" (removed)" if removed else ""),
        one.data,
        str(one.cases),
        _size(one.size),
        one.used.strftime("%Y-%m-%d %H:%M"),
        ", ".join(one.runs) or "none",
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
