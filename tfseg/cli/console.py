"""What every command prints with: tables and progress on stderr, JSON alone on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from tfseg.errors import printable

_Item = TypeVar("_Item")


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*map(printable, row))
    Console(soft_wrap=False).print(table)


def note(message: str) -> None:
    """Say something on stderr, out of the way of what the command prints."""
    click.echo(printable(message), err=True)


def log_to_screen(name: str) -> None:
    """Write what a logger is told from INFO on to stderr, one line a message."""
    import logging

    class Formatter(logging.Formatter):
        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
            record.message = " ".join(record.message.split("\n"))
            return printable(super().formatMessage(record))

        def formatException(self, ei: Any) -> str:  # noqa: N802
            return printable(super().formatException(ei))

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger(name).setLevel(logging.INFO)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Show each warning that tfseg logs once, on stderr, and yield a list that it is added to."""
    import logging

    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if message not in said:
                said.append(message)
                note(message)

    handler, logger = Handler(logging.WARNING), logging.getLogger("tfseg")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def track(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """Yield ``items`` with a progress bar on stderr, shown only when that is a terminal."""
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    yield from rich_track(items, description=what, console=console, disable=not console.is_terminal)


class ConsoleProgress:
    """Shows on stderr what library code tells (:class:`tfseg.progress.Progress`)."""

    def note(self, text: str) -> None:
        """Say a remark."""
        note(text)

    def track(self, items: Iterable[_Item], what: str) -> Iterable[_Item]:
        """Yield the items with a progress bar."""
        return track(tuple(items), what)


@contextmanager
def share_bar(what: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr; yields a function that takes the finished share."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def print_left_out(left: Sequence[Any]) -> None:
    """Print a table of :class:`tfseg.io.scans.LeftOut` on stdout."""
    print_table("Left out", ("series", "why"), [(one.series, one.reason) for one in left])
