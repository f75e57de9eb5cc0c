"""One model: its versions, each loaded aside, made available, released and closed.

The model's own thread looks at the base path and calls :meth:`Model.refresh`; requests call
:meth:`Model.acquire` and :meth:`Model.release`. A version is loaded outside the lock, so a
request never waits for one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from tfseg_serving.status import Code, StatusError
from tfseg_serving.versions import ModelConfig, Timing, versions_below
from tfseg_serving.wire import Signature, VersionStatus, WireError

_LOG = logging.getLogger(__name__)


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

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        fetches: Sequence[str],
        timeout_s: float | None = None,
    ) -> list[NDArray[Any]]:
        """Feed and fetch tensors of the graph by their own names."""
        ...

    def close(self) -> None:
        """Release what the version holds."""
        ...


class Version:
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
        """Return the state as a client sees it."""
        code, message = (self.error.code, self.error.message) if self.error else (Code.OK, "")
        return VersionStatus(self.number, self.state, int(code), message)


class Model:
    """The versions of one model.

    Args:
        config: where they lie and which are wanted; may be replaced, which acts at the next
            look at the disk.
        load: makes a servable of a version's folder; raises :class:`StatusError`.
        timing: retries.
        load_slots: how many versions, of all models, load at once.
    """

    def __init__(
        self,
        config: ModelConfig,
        load: Callable[[Path], Servable],
        timing: Timing,
        load_slots: threading.Semaphore,
    ) -> None:
        self.config = config
        self.dropped = threading.Event()  # the model is not configured any more
        self._load = load
        self._timing = timing
        self._load_slots = load_slots
        self._lock = threading.Lock()
        self._versions: dict[int, Version] = {}
        self._listed = True

    # --- for requests

    def acquire(self, version: int | None) -> Version | None:
        """Take hold of an available version, the newest when ``version`` is ``None``."""
        with self._lock:
            ready = [one for one in self._versions.values() if one.state == "AVAILABLE"]
            if version is not None:
                ready = [one for one in ready if one.number == version]
            if not ready:
                return None
            chosen = max(ready, key=lambda one: one.number)
            chosen.users += 1
            return chosen

    def release(self, version: Version) -> None:
        """Let go of a version; the last one to let go of an unwanted one closes it."""
        with self._lock:
            version.users -= 1
            servable = self._take_if_idle(version)
        self._close(version, servable)

    def report(self) -> list[VersionStatus]:
        """Return the state of every version that was ever seen, newest first."""
        with self._lock:
            numbers = sorted(self._versions, reverse=True)
            return [self._versions[number].report() for number in numbers]

    # --- for the model's own thread

    def refresh(self, retry: bool) -> None:
        """Bring what is served in line with what is on disk.

        Args:
            retry: whether a failed load will be tried again; at start it is final.
        """
        config = self.config
        found: dict[int, Path] | None = {}
        if not self.dropped.is_set():
            found = versions_below(config.base_path)
        if found is None:
            if self._listed:
                _LOG.error("%s cannot be listed; nothing changes", config.base_path)
            self._listed = False
            return
        self._listed = True
        wanted = config.policy.choose(found)
        self._note_wanted({number: found[number] for number in wanted})
        for number in wanted:
            self._load_if_due(self._versions[number], retry)
            if self.dropped.is_set():
                return  # the next refresh takes down what this one has brought up
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
                    self._versions[number] = Version(number, folder)
                elif known.state == "AVAILABLE":
                    known.wanted = True

    def _load_if_due(self, version: Version, retry: bool) -> None:
        with self._lock:
            due = time.monotonic() >= version.next_try
            if version.state not in {"START", "LOADING"} or not due:
                return
            version.state = "LOADING"
        error: StatusError | None = None
        servable: Servable | None = None
        try:
            with self._load_slots:
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

    def _retire(self, version: Version) -> None:
        with self._lock:
            version.state = "UNLOADING"
            servable = self._take_if_idle(version)
        self._close(version, servable)

    def _take_if_idle(self, version: Version) -> Servable | None:
        if version.state != "UNLOADING" or version.users:
            return None
        servable, version.servable = version.servable, None
        return servable

    def _close(self, version: Version, servable: Servable | None) -> None:
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
