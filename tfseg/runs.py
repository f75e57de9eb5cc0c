"""Run folders: their names, and which one is the latest."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tfseg.errors import ConfigError, DataError
from tfseg.files import write_error
from tfseg.layout import CONFIG, is_run
from tfseg.locks import HeldError, locked

ROOT = Path("runs")
LATEST = ROOT / "latest"
_log = logging.getLogger(__name__)
CACHE = ".cache"  # beside the runs: prepared volumes and the built-in data sets


def fold_folder(run: Path, fold: int) -> Path:
    """Return where a run of several folds has the run of one of them."""
    return run / f"fold_{fold}"


@contextmanager
def new_run(model: str, run: str | None) -> Iterator[Path]:
    """Yield the folder of a new run: ``run``, or ``runs/<model>-<date>`` where it is ``None``.

    No other process can train there while the block runs. The folder is removed again if it is
    empty at the end.

    Raises:
        ConfigError: the folder holds a run already, or another process trains there.
        DataError: the folder cannot be written.
    """
    named = Path(run) if run else ROOT / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = named, 1
    with ExitStack() as stack:
        while True:
            try:
                _hold(stack, folder)
                _refuse_existing(folder)
                break
            except ConfigError:
                if run:
                    raise
            number += 1  # after the run that began in the same second
            folder = named.with_name(f"{named.name}-{number}")
        yield folder


@contextmanager
def resumed_run(run: str | None) -> Iterator[Path]:
    """Yield the folder of an existing run, in which no other process can train meanwhile.

    Raises:
        ConfigError: another process trains there.
        DataError: no run there, or it cannot be written.
    """
    folder = existing_run(run)
    with ExitStack() as stack:
        _hold(stack, folder)
        yield folder


def _hold(stack: ExitStack, folder: Path) -> None:
    try:
        stack.enter_context(locked(folder))
    except HeldError as holder:
        raise ConfigError(
            f"{folder} is being trained by {holder}. Wait for its end, or use another --run."
        ) from None
    except OSError as error:
        raise write_error(folder, error) from error


def _refuse_existing(folder: Path) -> None:
    if is_run(folder):
        raise ConfigError(
            f"{folder} holds a run already. Use --resume to go on with it, or another --run."
        )


def existing_run(run: str | None) -> Path:
    """Return the folder of an existing run: ``run``, or the latest one.

    Raises:
        DataError: no run there.
    """
    folder = Path(run) if run else latest()
    if not is_run(folder):
        given = f"{folder} is no run folder" if run else "there is no run yet"
        raise DataError(f"{given}: {folder / CONFIG} is missing. Train one: tfseg train.")
    return folder.resolve()


def latest() -> Path:
    """Return the latest run: where ``runs/latest`` points, else the one that began last.

    There is no pointer where the disk has no symbolic links. Without any run the pointer's
    own path is returned, which does not exist.
    """
    if LATEST.exists():
        return LATEST
    begun = {path: path.stat().st_mtime_ns for path in ROOT.glob(f"*/{CONFIG}")}
    return max(begun, key=lambda path: begun[path]).parent if begun else LATEST


def mark_latest(folder: Path) -> None:
    """Let ``runs/latest`` point to ``folder``, where the working directory can hold that."""
    temporary = LATEST.with_name(f".latest-{os.getpid()}")
    try:
        LATEST.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(folder.resolve(), LATEST.parent.resolve())
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        os.replace(temporary, LATEST)
    except OSError as error:  # a read-only folder, a disk without links: no run needs it
        _log.warning(
            "%s was not set (%s). Name the run where a command wants one: %s",
            LATEST, error.strerror, folder,
        )  # fmt: skip
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
