"""Checkpoints: everything needed to go on as if nothing had happened, in one atomic file.

An ``.npz`` holds every variable of the network (weights, statistics, dropout's random state)
and of the optimizer, and a JSON text with the counters. No pickles.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.errors import DataError
from tfseg.files import atomic_path


@dataclass
class Progress:
    """Counters of a run.

    Attributes:
        epoch: finished epochs.
        elapsed_s: seconds of training so far, over all sessions.
        epoch_s: seconds of the last epoch, its validation included.
        best: best validation Dice so far; -1 before the first.
        best_epoch: when that was; or when the stage began, if that was later.
        stage: of the last epoch, where a network is trained in stages.
        history: one record an epoch, the rows of ``history.csv``.
    """

    epoch: int = 0
    elapsed_s: float = 0.0
    epoch_s: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    stage: int = 0
    history: list[dict[str, float | int | None]] = field(default_factory=list)


def save_state(path: Path, model: Any, optimizer: Any, progress: Progress) -> None:
    """Write a checkpoint; the old one stays until the new one is whole."""
    arrays = {name: variable.numpy() for name, variable in _named(model, optimizer).items()}
    counters = json.dumps(dataclasses.asdict(progress))
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, progress=np.array(counters), **arrays)


def load_state(path: Path, model: Any, optimizer: Any) -> Progress:
    """Restore a checkpoint into ``model`` and ``optimizer`` and return its counters.

    Raises:
        DataError: missing, damaged, or of another network.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise DataError(f"there is no checkpoint {path}. Start without --resume.") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"the checkpoint {path} is damaged. Start without --resume.") from error
    counters = json.loads(str(arrays.pop("progress", np.array("{}"))))
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
    return Progress(**counters)


def _named(model: Any, optimizer: Any) -> dict[str, Any]:
    """Return every variable under a name that is unique and the same in each build."""
    return {**_numbered("model", model.variables), **_numbered("optimizer", optimizer.variables)}


def _numbered(owner: str, variables: Sequence[Any]) -> dict[str, Any]:
    return {f"{owner}/{index:04d}": variable for index, variable in enumerate(variables)}
