"""Processes that train one network together, as their environment says it.

Either ``TF_CONFIG`` (TensorFlow's own description of a cluster, which Kubernetes operators set) or
the variables of a SLURM step (``srun``) name all of them and say which one this is. Reading them
starts no TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfseg import strict_json
from tfseg.errors import ConfigError

_CONFIG = "TF_CONFIG"
_TASKS, _NUMBER = "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"


@dataclass(frozen=True)
class Workers:
    """The processes of one training.

    Attributes:
        index: of this one, from 0.
        count: of all.
        by: what said so; empty for a process alone.
    """

    index: int = 0
    count: int = 1
    by: str = ""

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what is written: the first one does."""
        return self.index == 0


def read_workers(environment: Mapping[str, str] = os.environ) -> Workers:
    """Return the processes that train together.

    Raises:
        ConfigError: the environment describes no cluster of workers.
    """
    if text := environment.get(_CONFIG):
        return _of_tf_config(text)
    tasks = environment.get(_TASKS, "1")
    if tasks.isdecimal() and int(tasks) > 1:
        number = environment.get(_NUMBER, "")
        if not number.isdecimal() or int(number) >= int(tasks):
            raise ConfigError(
                f"{_NUMBER} must be a number below {_TASKS}={tasks}; got {number!r}. Start the "
                "processes with srun."
            )
        return Workers(int(number), int(tasks), "SLURM")
    return Workers()


def _of_tf_config(text: str) -> Workers:
    try:
        document = strict_json.loads(text)
    except strict_json.JsonError as error:
        raise ConfigError(f"{_CONFIG} is no valid JSON: {error}.") from error
    cluster, task = (_section(document, name) for name in ("cluster", "task"))
    if not cluster:
        return Workers()
    addresses = [*_addresses(cluster, "chief"), *_addresses(cluster, "worker")]
    kind, index = task.get("type"), task.get("index", 0)
    others = sorted({*cluster} - {"chief", "worker"})
    if others or kind not in ("chief", "worker"):
        raise ConfigError(
            f"{_CONFIG} must have workers only, of which one may be the chief; got "
            f"{', '.join(others) or repr(kind)}. All processes of tfseg train are equal."
        )
    first = len(_addresses(cluster, "chief")) if kind == "worker" else 0
    if not isinstance(index, int) or not 0 <= first + index < len(addresses):
        raise ConfigError(
            f"the task's index in {_CONFIG} must name one of its {len(addresses)} processes; got "
            f"{kind} {index!r}."
        )
    return Workers(first + index, len(addresses), _CONFIG)


def _section(document: Any, name: str) -> dict[str, Any]:
    found = document.get(name, {}) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise ConfigError(f"{_CONFIG} must be an object with the objects cluster and task.")
    return found


def _addresses(cluster: dict[str, Any], kind: str) -> list[str]:
    found = cluster.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ConfigError(f"{_CONFIG}: {kind} must be a list of addresses such as host:port.")
    return found
