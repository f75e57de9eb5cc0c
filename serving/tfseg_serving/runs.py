"""Run folders among the folders to serve: each is exported first, as `tfseg export` does it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.errors import ConfigError, TfsegError
from tfseg.layout import is_run


def with_runs_exported(folders: Sequence[Path], target: Path) -> list[Path]:
    """Return folders of models: each run is exported below ``target`` and replaced by that.

    The export runs in a process of its own: it needs Keras and a good deal of memory, the server
    neither.

    Raises:
        ConfigError: two runs have one name, which the models would share.
        TfsegError: an export failed.
    """
    served = [folder for folder in folders if not is_run(folder)]
    runs = list({folder.resolve(): folder for folder in folders if is_run(folder)}.values())
    named: dict[str, Path] = {}
    for run in runs:
        other = named.setdefault(run.resolve().name, run)
        if other != run:
            raise ConfigError(
                f"a run is served by its folder's name, and {other} and {run} have one name. "
                "Export them with --name, and serve the exports."
            )
    for run in runs:
        command = [sys.executable, "-m", "tfseg", "export", str(run), "--format", "savedmodel"]
        done = subprocess.run(
            [*command, "-o", str(target)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise TfsegError(
                f"the run {run} cannot be exported: {reason[0].removeprefix('tfseg: ')}"
            )
    return [*served, target] if runs else served
