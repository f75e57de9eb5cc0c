"""Checkpoints: everything needed to go on as if nothing had happened, in one atomic file.

An ``.npz`` holds every variable of every network (weights, statistics, dropout's random state), of
its optimizer and of its average, and a JSON text with the counters. No pickles.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfseg import strict_json
from tfseg.arrays import DAMAGE, read_npz
from tfseg.errors import DataError
from tfseg.files import atomic_path

_log = logging.getLogger(__name__)

Groups = Mapping[str, Sequence[Any]]


@dataclass
class Counters:
    """How far a run is.

    Attributes:
        epoch: finished epochs.
        step: finished steps.
        elapsed_s: seconds since the run's command began, over all sessions: looking at the data,
            preparing them, training and validation.
        history: one record an epoch, the rows of ``history.csv``.
        scheme: what the scheme keeps (:meth:`tfseg.schemes.base.Scheme.state`).
    """

    epoch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    scheme: dict[str, Any] = field(default_factory=dict)


def save(path: Path, groups: Groups, counters: Counters) -> None:
    """Write a checkpoint; the one that was there becomes :func:`previous`, whole as it is.

    Args:
        path: of the file.
        groups: variables by owner, such as ``segmenter/network``; in each build the same order.
        counters: of the run.
    """
    arrays = {name: variable.numpy() for name, variable in _named(groups).items()}
    text = json.dumps(dataclasses.asdict(counters))
    with atomic_path(path) as temporary:
        with temporary.open("wb") as handle:
            np.savez(handle, counters=np.array(text), **arrays)
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


def load_latest(path: Path, groups: Groups) -> Counters:
    """Restore the checkpoint ``path``, or, if it is damaged or missing, the one before it.

    Raises:
        DataError: neither can be read, or they are of another network.
    """
    before = previous(path)
    try:
        return load(path, groups)
    except DataError as error:
        try:
            counters = load(before, groups)
        except DataError:
            raise error from None
        _log.warning(
            "%s is damaged or missing: going on from the one before it, of epoch %d.",
            path, counters.epoch,
        )  # fmt: skip
        if isinstance(error, DamagedError):
            # Else the next checkpoint would put it in the good one's place.
            path.unlink(missing_ok=True)
        return counters


def load(path: Path, groups: Groups) -> Counters:
    """Restore a checkpoint into the variables of ``groups`` and return its counters.

    Raises:
        DamagedError: missing or damaged.
        DataError: of another network.
    """
    run = path.parent.parent
    try:
        arrays = read_npz(path)
        counters = Counters(**strict_json.loads(str(arrays.pop("counters"))))
    except FileNotFoundError:
        raise DamagedError(f"there is no checkpoint {path}.", run) from None
    except DAMAGE as error:
        raise DamagedError(f"the checkpoint {path} is damaged.", run) from error
    variables = _named(groups)
    if set(variables) != set(arrays) or any(
        tuple(variable.shape) != arrays[name].shape for name, variable in variables.items()
    ):
        raise DataError(
            f"the checkpoint {path} is of another network or optimizer than the run's "
            "configuration. Start a new run."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return counters


class DamagedError(DataError):
    """A checkpoint that cannot be read; the message ends with a way that leads on."""

    def __init__(self, what: str, run: Path) -> None:
        better = (
            f", or with its last network in a new one: weights={run}"
            if (run / "model.keras").is_file()
            else ""
        )
        super().__init__(f"{what} Start anew in another run folder{better}.")


def _named(groups: Groups) -> dict[str, Any]:
    """Return every variable under a name that is unique and the same in each build."""
    return {
        f"{owner}/{index:04d}": variable
        for owner, variables in groups.items()
        for index, variable in enumerate(variables)
    }
