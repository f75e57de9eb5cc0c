"""The prepared volumes beside a folder of runs: what there is, who uses it, removing it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tfseg.errors import TfsegError
from tfseg.files import read_json
from tfseg.locks import FILE_NAME, HeldError, locked
from tfseg.pipeline.cache import DESCRIPTION, cache_key
from tfseg.plan import Plan
from tfseg.runs import CACHE


@dataclass(frozen=True)
class Cache:
    """The prepared volumes of one data set and plan.

    Attributes:
        folder: where they are.
        data: the data set's folder.
        cases: number of cases.
        size: of all files, in bytes.
        used: when a run last opened it, local time.
        runs: names of the runs that were trained on it.
        busy: one of them is being trained now.
    """

    folder: Path
    data: str
    cases: int
    size: int
    used: datetime
    runs: tuple[str, ...]
    busy: bool

    def document(self) -> dict[str, Any]:
        """Return the cache as JSON."""
        return {
            "folder": str(self.folder), "data": self.data, "cases": self.cases,
            "bytes": self.size, "used": self.used.isoformat(timespec="seconds"),
            "runs": list(self.runs),
        }  # fmt: skip


def find_caches(runs: Path) -> list[Cache]:
    """Return the caches beside ``runs``, the one used last first."""
    users = _users(runs)
    found = []
    for description in (runs / CACHE).glob(f"*/{DESCRIPTION}"):
        folder = description.parent
        names = users.get(folder.name, [])
        found.append(
            Cache(
                folder=folder,
                data=str(read_json(description, "the description of the cache").get("data", "")),
                cases=sum(1 for path in folder.iterdir() if path.is_dir()),
                size=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
                used=datetime.fromtimestamp(description.stat().st_mtime),
                runs=tuple(sorted(names)),
                busy=any(_is_held(runs / name) for name in names),
            )
        )
    return sorted(found, key=lambda one: one.used, reverse=True)


def remove_cache(cache: Cache) -> bool:
    """Remove a cache; False where a training uses it or prepares it now."""
    if cache.busy:
        return False
    try:
        with locked(cache.folder):
            shutil.rmtree(cache.folder, ignore_errors=True)
    except HeldError:
        return False
    return True


def _users(runs: Path) -> dict[str, list[str]]:
    """Return cache name -> runs that were trained on it."""
    users: dict[str, list[str]] = {}
    for path in runs.glob("*/config.json"):
        if path.parent.is_symlink():
            continue  # runs/latest
        try:
            config = read_json(path, "the run's configuration")
            plan = Plan.load(path.parent / "plan.json")
            key = cache_key(Path(str(config["data"])), plan.labels, plan)
        except (TfsegError, KeyError, TypeError):
            continue  # whatever it is, it names no cache
        users.setdefault(key, []).append(path.parent.name)
    return users


def _is_held(run: Path) -> bool:
    if not (run / FILE_NAME).exists():
        return False  # without a file there is no holder, and none is made in finished runs
    try:
        with locked(run):
            return False
    except HeldError:
        return True
