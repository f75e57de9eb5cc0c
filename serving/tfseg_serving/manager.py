"""Which versions of which models are served: found on disk, loaded aside, swapped, released.

A version is a folder ``<base_path>/<integer>``. One thread per model looks at its base path every
second. A new version is loaded while the old one serves; the old one goes when a wanted version
is available, and is closed when the last request that uses it has ended. So a request always
finds a version, and a version that cannot be loaded changes nothing but its own status.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.wire import Signature, VersionStatus, WireError

_LOG = logging.getLogger(__name__)
_MAX_VERSION = 2**63 - 1


class Servable(Protocol):
    """A loaded version: what :class:`tfseg_serving.servable.SavedModelServable` offers."""

    signatures: dict[str, Signature]
    signature_defs: dict[str, bytes]
    signature_json: dict[str, Any]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, NDArray[Any] | WireError],
        output_filter: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run one signature."""
        ...

    def close(self) -> None:
        """Release what the version holds."""
        ...


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
        poll_s: seconds between two looks at a base path.
        retries: how often a failed load is tried again; the first load at start never is.
        retry_s: seconds between those tries.
    """

    poll_s: float = 1.0
    retries: int = 5
    retry_s: float = 60.0


def versions_below(base_path: Path) -> dict[int, Path] | None:
    """Return version to folder; ``None`` when the base path cannot be listed."""
    try:
        children = sorted(base_path.iterdir())
        return {
            int(child.name): child
            for child in children
            if child.name.isascii()
            and child.name.isdigit()
            and len(child.name) < 64
            and int(child.name) <= _MAX_VERSION
            and child.is_dir()
        }
    except OSError:
        return None


class _Version:
    """One version of one model; every field is guarded by the model's lock."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.state = "START"
        self.error: StatusError | None = None
        self.servable: Servable | None = None
        self.users = 0
        self.wanted = True
        self.tries = 0
        self.next_try = 0.0

    def report(self) -> VersionStatus:
        code, message = (self.error.code, self.error.message) if self.error else (Code.OK, "")
        return VersionStatus(self.number, self.state, int(code), message)


class _Model:
    def __init__(
        self, config: ModelConfig, load: Callable[[Path], Servable], timing: Timing
    ) -> None:
        self.config = config
        self._load = load
        self._timing = timing
        self._lock = threading.Lock()
        self._versions: dict[int, _Version] = {}
        self._listed = True

    # --- for requests

    def acquire(self, version: int | None) -> _Version | None:
        with self._lock:
            ready = [one for one in self._versions.values() if one.state == "AVAILABLE"]
            if version is not None:
                ready = [one for one in ready if one.number == version]
            if not ready:
                return None
            chosen = max(ready, key=lambda one: one.number)
            chosen.users += 1
            return chosen

    def release(self, version: _Version) -> None:
        with self._lock:
            version.users -= 1
            servable = self._take_if_idle(version)
        self._close(version, servable)

    def report(self) -> list[VersionStatus]:
        with self._lock:
            numbers = sorted(self._versions, reverse=True)
            return [self._versions[number].report() for number in numbers]

    # --- for the model's own thread

    def refresh(self, retry: bool) -> None:
        """Bring what is served in line with what is on disk.

        Args:
            retry: whether a failed load will be tried again; at start it is final.
        """
        found = versions_below(self.config.base_path)
        if found is None:
            if self._listed:
                _LOG.error("%s cannot be listed; nothing changes", self.config.base_path)
            self._listed = False
            return
        self._listed = True
        wanted = self.config.policy.choose(found)
        self._note_wanted({number: found[number] for number in wanted})
        for number in wanted:
            self._load_if_due(self._versions[number], retry)
        self._unload(wanted)

    def _note_wanted(self, wanted: Mapping[int, Path]) -> None:
        with self._lock:
            for version in self._versions.values():
                if version.number not in wanted:
                    version.wanted = False
                    if version.state == "LOADING":  # between two tries: give up
                        version.state = "END"
            for number, folder in wanted.items():
                known = self._versions.get(number)
                if known is None or (known.state == "END" and not known.wanted):
                    self._versions[number] = _Version(number, folder)
                elif known.state == "AVAILABLE":
                    known.wanted = True

    def _load_if_due(self, version: _Version, retry: bool) -> None:
        with self._lock:
            due = time.monotonic() >= version.next_try
            if version.state not in {"START", "LOADING"} or not due:
                return
            version.state = "LOADING"
        error: StatusError | None = None
        servable: Servable | None = None
        try:
            servable = self._load(version.folder)
        except StatusError as caught:
            error = caught
        except Exception as caught:
            # The folder is data from outside: whatever it provokes is that version's failure.
            error = StatusError(Code.INTERNAL, f"{type(caught).__name__}: {caught}")
            _LOG.exception("loading %s failed", version.folder)
        with self._lock:
            version.tries += 1
            version.servable, version.error = servable, error
            if servable is not None:
                version.state = "AVAILABLE"
            elif not retry or version.tries > self._timing.retries:
                version.state = "END"
            else:
                version.next_try = time.monotonic() + self._timing.retry_s
        if error is not None:
            level = logging.ERROR if retry else logging.DEBUG  # at start it is raised instead
            _LOG.log(level, "model %s version %d: %s", self.config.name, version.number, error)
        else:
            _LOG.info("model %s version %d is available", self.config.name, version.number)

    def _unload(self, wanted: Sequence[int]) -> None:
        with self._lock:
            ready = any(self._versions[number].state == "AVAILABLE" for number in wanted)
            leaving = [
                version
                for version in self._versions.values()
                if version.state == "AVAILABLE" and version.number not in wanted
            ]
            if wanted and not ready:
                return
        for version in leaving:
            self._retire(version)

    def _retire(self, version: _Version) -> None:
        with self._lock:
            version.state = "UNLOADING"
            servable = self._take_if_idle(version)
        self._close(version, servable)

    def _take_if_idle(self, version: _Version) -> Servable | None:
        if version.state != "UNLOADING" or version.users:
            return None
        servable, version.servable = version.servable, None
        return servable

    def _close(self, version: _Version, servable: Servable | None) -> None:
        if servable is None:
            return
        servable.close()
        with self._lock:
            version.state = "END"
        _LOG.info("model %s version %d is unloaded", self.config.name, version.number)

    def close(self) -> None:
        """Unload everything now; runs under way are cancelled."""
        with self._lock:
            servables = [one.servable for one in self._versions.values() if one.servable]
            for version in self._versions.values():
                version.servable, version.state, version.wanted = None, "END", False
        for servable in servables:
            servable.close()


class ModelManager:
    """All models of one server.

    Args:
        configs: the models; names differ.
        load: makes a servable of a version's folder; raises :class:`StatusError`.
        timing: polling and retries.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        load: Callable[[Path], Servable],
        timing: Timing = Timing(),
    ) -> None:
        self._models = {config.name: _Model(config, load, timing) for config in configs}
        self._timing = timing
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Load every model and begin to poll.

        Raises:
            StatusError: a model has no version that is wanted, or none that can be loaded; a
                label names a version that is not available. Nothing stays loaded.
        """
        try:
            for model in self._models.values():
                model.refresh(retry=False)
                _check_started(model)
        except BaseException:
            self.close()
            raise
        for name, model in self._models.items():
            thread = threading.Thread(
                target=self._poll, args=(model,), name=f"poll-{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _poll(self, model: _Model) -> None:
        while not self._stop.wait(self._timing.poll_s):
            model.refresh(retry=True)

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str = ""
    ) -> Iterator[tuple[int, Servable]]:
        """Hold a version while a request runs: yields its number and the servable.

        Raises:
            StatusError: NOT_FOUND for a model or version that is not available,
                INVALID_ARGUMENT for an unknown label.
        """
        model = self._models.get(name)
        if label:
            version = self._labelled(model, label)
        held = model.acquire(version) if model else None
        if model is None or held is None:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
        try:
            servable = held.servable
            if servable is None:  # closed under us: the server is going down
                raise StatusError(Code.UNAVAILABLE, "the server is shutting down")
            yield held.number, servable
        finally:
            model.release(held)

    def _labelled(self, model: _Model | None, label: str) -> int:
        if not any(one.config.labels for one in self._models.values()):
            raise StatusError(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
        if model is None or label not in model.config.labels:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return model.config.labels[label]

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return the state of every version of a model, newest first, or of one.

        Raises:
            StatusError: NOT_FOUND for a model or version that was never seen.
        """
        model = self._models.get(name)
        found = model.report() if model else []
        if not found:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None:
            found = [one for one in found if one.version == version]
            if not found:
                raise StatusError(
                    Code.NOT_FOUND, f"Could not find version {version} of model {name}"
                )
        return found

    def available(self) -> dict[str, list[int]]:
        """Return model name to the versions that answer now, newest first."""
        return {
            name: [one.version for one in model.report() if one.state == "AVAILABLE"]
            for name, model in self._models.items()
        }

    def close(self) -> None:
        """Stop polling and unload everything; runs under way are cancelled."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)  # one that is in the middle of a load ends with the process
        for model in self._models.values():
            model.close()


def _check_started(model: _Model) -> None:
    reports = model.report()
    name, base = model.config.name, model.config.base_path
    if not reports:
        raise StatusError(
            Code.NOT_FOUND,
            f"model {name!r} has no version to serve: {base} needs a sub-folder whose name is an "
            "integer and that its version policy wants",
        )
    ready = {one.version for one in reports if one.state == "AVAILABLE"}
    if not ready:
        first = reports[0]
        raise StatusError(
            Code(first.code),
            f"model {name!r} version {first.version} cannot be loaded: {first.message}",
        )
    for version in model.config.labels.values():
        if version not in ready:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {name}, which is not "
                "currently available for inference",
            )
