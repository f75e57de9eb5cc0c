"""Run folders: their names, and which one is the latest."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tfseg.errors import ConfigError, DataError

ROOT = Path("runs")
LATEST = ROOT / "latest"
CACHE = ".cache"  # beside the runs: prepared volumes and the built-in data sets


def new_run_folder(model: str, run: str | None) -> Path:
    """Return the folder of a new run: ``run``, or ``runs/<model>-<date>`` where it is ``None``.

    Raises:
        ConfigError: the folder holds a run already.
    """
    folder = Path(run) if run else ROOT / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    if (folder / "config.json").exists():
        raise ConfigError(
            f"{folder} holds a run already. Use --resume to go on with it, or another --run."
        )
    return folder


def existing_run(run: str | None) -> Path:
    """Return the folder of an existing run: ``run``, or the latest one.

    Raises:
        DataError: no run there.
    """
    folder = Path(run) if run else LATEST
    if not (folder / "config.json").is_file():
        given = f"{folder} is no run folder" if run else "there is no run yet"
        raise DataError(f"{given}: {folder / 'config.json'} is missing. Train one: tfseg train.")
    return folder.resolve()


def mark_latest(folder: Path) -> None:
    """Let ``runs/latest`` point to ``folder``."""
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(folder.resolve(), LATEST.parent.resolve())
    temporary = LATEST.with_name(f".latest-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, LATEST)
