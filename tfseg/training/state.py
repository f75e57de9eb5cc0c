"""Checkpoints: everything needed to go on as if nothing had happened, in one atomic file.

An ``.npz`` holds every variable of the network (weights, statistics, dropout's random state)
and of the optimizer, and a JSON text with the counters. No pickles.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfseg import strict_json
from tfseg.arrays import DAMAGE, read_npz
from tfseg.errors import DataError
from tfseg.files import atomic_path

MEASURE = "pooled Dice"
_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Counters of a run.

    Attributes:
        epoch: finished epochs.
        elapsed_s: seconds of training so far, over all sessions.
        epoch_s: seconds of the last epoch, its validation included.
        best: best validation Dice so far; -1 before the first.
        measure: what ``best`` is measured by.
        best_epoch: when that was; or when the stage began, if that was later.
        stage: of the last epoch, where a network is trained in stages.
        history: one record an epoch, the rows of ``history.csv``.
    """

    epoch: int = 0
    elapsed_s: float = 0.0
    epoch_s: float = 0.0
    best: float = -1.0
    measure: str = MEASURE
    best_epoch: int = 0
    stage: int = 0
    history: list[dict[str, float | int | None]] = field(default_factory=list)


def save_state(path: Path, model: Any, optimizer: Any, progress: Progress) -> None:
    """Write a checkpoint; the one that was there becomes :func:`previous`, whole as it is."""
    arrays = {name: variable.numpy() for name, variable in _named(model, optimizer).items()}
    counters = json.dumps(dataclasses.asdict(progress))
    with atomic_path(path) as temporary:
        with temporary.open("wb") as handle:
            np.savez(handle, progress=np.array(counters), **arrays)
        if path.exists():
            os.replace(path, previous(path))


def previous(path: Path) -> Path:
    """Return where the checkpoint before ``path`` lies."""
    return path.with_name("previous.npz")


def is_whole(path: Path) -> bool:
    """Tell whether a zip file, such as ``model.keras``, is there and has its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except DAMAGE:
        return False


def load_latest(path: Path, model: Any, optimizer: Any) -> Progress:
    """Restore the checkpoint ``path``, or, if it is damaged or missing, the one before it.

    Raises:
        DataError: neither can be read, or they are of another network.
    """
    before = previous(path)
    try:
        return load_state(path, model, optimizer)
    except DataError as error:
        try:
            progress = load_state(before, model, optimizer)
        except DataError:
            raise error from None
        _log.warning(
            "%s is damaged or missing: going on from the one before it, of epoch %d.",
            path, progress.epoch,
        )  # fmt: skip
        if isinstance(error, DamagedError):
            # Else the next checkpoint would put it in the good one's place.
            path.unlink(missing_ok=True)
        return progress


def load_state(path: Path, model: Any, optimizer: Any) -> Progress:
    """Restore a checkpoint into ``model`` and ``optimizer`` and return its counters.

    Raises:
        DamagedError: missing or damaged.
        DataError: of another network.
    """
    run = path.parent.parent
    try:
        arrays = read_npz(path)
        counters = strict_json.loads(str(arrays.pop("progress")))
        if counters.get("measure") != MEASURE:  # of an older release, which took a mean over cases
            counters |= {"best": -1.0, "measure": MEASURE}
        progress = Progress(**counters)
    except FileNotFoundError:
        raise DamagedError(f"there is no checkpoint {path}.", run) from None
    except DAMAGE as error:
        raise DamagedError(f"the checkpoint {path} is damaged.", run) from error
    variables = _named(model, optimizer)
    if set(variables) != set(arrays) or any(
        tuple(variable.shape) != arrays[name].shape for name, variable in variables.items()
    ):
        raise DataError(
            f"the checkpoint {path} is of another network or optimizer than the run's "
            "configuration. Start a new run."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return progress


class DamagedError(DataError):
    """A checkpoint that cannot be read; the message ends with a way that leads on."""

    def __init__(self, what: str, run: Path) -> None:
        better = (
            f", or from its best network in a new one: --set weights={run}"
            if (run / "model.keras").is_file()
            else ""
        )
        super().__init__(f"{what} Start anew in another run folder (--run){better}.")


def _named(model: Any, optimizer: Any) -> dict[str, Any]:
    """Return every variable under a name that is unique and the same in each build."""
    return {**_numbered("model", model.variables), **_numbered("optimizer", optimizer.variables)}


def _numbered(owner: str, variables: Sequence[Any]) -> dict[str, Any]:
    return {f"{owner}/{index:04d}": variable for index, variable in enumerate(variables)}
