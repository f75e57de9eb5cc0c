"""What is asked for: models, where their versions lie, which to serve, how often to look."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfseg.files import is_partial
from tfseg.layout import versions_of

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions on disk are wanted.

    Attributes:
        kind: the ``count`` newest, every one, or those in ``versions``.
    """

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    def choose(self, found: Iterable[int]) -> list[int]:
        """Return the wanted ones of ``found``, newest first."""
        ordered = sorted(found, reverse=True)
        if self.kind == "latest":
            return ordered[: self.count]
        if self.kind == "specific":
            return [version for version in ordered if version in self.versions]
        return ordered


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Attributes:
        name: what requests call it.
        base_path: folder of the version folders.
        policy: which versions to serve.
        labels: label to version.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """How often things are done.

    Attributes:
        poll_s: seconds between two looks at a base path; 0 looks once, at the start.
        retries: how often a failed load is tried again; the first load at start never is.
        retry_s: seconds between those tries.
        appear_s: seconds that a reload waits for a first version of a new model to appear.
    """

    poll_s: float = 1.0
    retries: int = 5
    retry_s: float = 60.0
    appear_s: float = 30.0


def versions_below(base_path: Path) -> dict[int, Path] | None:
    """Return version to folder; ``None`` when the base path cannot be listed.

    A version is a child folder whose whole name is an integer that fits 64 bits. One that is a
    link to somewhere outside the base path is left out: nothing outside it is ever read. What an
    export has not finished has no versions.
    """
    try:
        root = base_path.resolve(strict=True)
        if is_partial(root):
            return {}
        versions = versions_of(base_path)
        inside = {
            number: child
            for number, child in versions.items()
            if child.resolve(strict=True).is_relative_to(root)
        }
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        return None
    for number in versions.keys() - inside.keys():
        _LOG.debug("%s leads out of %s and is not served", versions[number], root)
    return inside
