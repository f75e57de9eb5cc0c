"""All models of a server: polled, found by name, version or label, and reconfigured at run time.

One thread per model looks at its base path every second. A new version is loaded while the old
one serves; the old one goes when a wanted version is available, and is closed when the last
request that uses it has ended. So a request always finds a version, and a version that cannot be
loaded changes nothing but its own status.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tfseg_serving.model import Model, Servable
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.versions import ModelConfig, Timing
from tfseg_serving.wire import VersionStatus

_MAX_WAITING_RELOADS = 4
_RELOAD_LOOK_S = 0.05
_TIMING = Timing()


class ModelManager:
    """All models of one server.

    Args:
        configs: the models; names differ.
        load: makes a servable of a version's folder; raises :class:`StatusError`.
        timing: polling and retries.
        labels_for_unavailable: whether a label that is new may name a version that is not
            available.
        load_threads: versions that load at once; ``None`` for one of each model.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        load: Callable[[Path], Servable],
        timing: Timing = _TIMING,
        *,
        labels_for_unavailable: bool = False,
        load_threads: int | None = None,
    ) -> None:
        self._load = load
        self._timing = timing
        self._labels_for_unavailable = labels_for_unavailable
        self._load_slots = threading.Semaphore(load_threads or 1024)
        self._models = {config.name: self._new_model(config) for config in configs}
        self._labels: dict[str, dict[str, int]] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._reloading = threading.Lock()
        self._waiting_reloads: list[threading.Event] = []  # oldest first; set: wait no more

    def _new_model(self, config: ModelConfig) -> Model:
        return Model(config, self._load, self._timing, self._load_slots)

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
            self._labels = self._checked_labels([one.config for one in self._models.values()])
        except BaseException:
            self.close()
            raise
        for model in self._models.values():
            self._start_polling(model, at_once=False)

    # --- reconfiguring

    def reload(
        self, configs: Sequence[ModelConfig], given_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Serve these models instead: drop others, add new ones and wait until those answer.

        A model that stays takes its new policy and base path at its next look at the disk; labels
        act at once. The wait ends when all loads of a new model have failed, when no version of
        it has been seen for some seconds, or when a later configuration drops it; that
        configuration need not wait for this one's models. What is not available then is looked
        for on.

        Args:
            configs: the models; names differ.
            given_up: tells whether nobody waits any more.

        Raises:
            StatusError: FAILED_PRECONDITION for a label of a version that is not available, which
                changes nothing; UNKNOWN when a new model does not become available; CANCELLED
                when ``given_up``; RESOURCE_EXHAUSTED when too many wait after this one.
        """
        with self._reloading:
            added = self._reload(configs)
        if added:
            self._wait_for(added, given_up)

    def _reload(self, configs: Sequence[ModelConfig]) -> list[Model]:
        """Change what is served; return the models that are new."""
        self._labels = self._checked_labels(configs)
        kept = {config.name for config in configs}
        for name, model in self._models.items():
            if name not in kept:
                model.dropped.set()
        added = []
        for config in configs:
            known = self._models.get(config.name)
            if known is None or known.dropped.is_set():
                model = self._new_model(config)
                # Requests read the table without a lock: it is replaced, never changed.
                self._models = {**self._models, config.name: model}
                self._start_polling(model, at_once=True)
                added.append(model)
            else:
                known.config = config
        return added

    def _wait_for(self, models: Sequence[Model], given_up: Callable[[], bool]) -> None:
        pushed_out = threading.Event()
        with self._reloading:
            self._waiting_reloads.append(pushed_out)
            if len(self._waiting_reloads) > _MAX_WAITING_RELOADS:
                self._waiting_reloads.pop(0).set()
        try:
            failed = self._unavailable(models, given_up, pushed_out)
        finally:
            with self._reloading, contextlib.suppress(ValueError):  # it was pushed out
                self._waiting_reloads.remove(pushed_out)
        if failed:
            raise StatusError(
                Code.UNKNOWN,
                f"{len(failed)} model(s) did not become available: {{{', '.join(failed)}}}",
            )

    def _unavailable(
        self, models: Sequence[Model], given_up: Callable[[], bool], pushed_out: threading.Event
    ) -> list[str]:
        """Wait until each model is available or fails; return what is said of those that fail."""
        waiting = list(models)
        failed: list[str] = []
        end = time.monotonic() + self._timing.appear_s
        while waiting and not self._stop.wait(_RELOAD_LOOK_S):
            if given_up():
                raise StatusError(Code.CANCELLED, "the client left before the models were ready")
            if pushed_out.is_set():
                raise StatusError(
                    Code.RESOURCE_EXHAUSTED,
                    "the configuration is in force, but too many requests wait for their models; "
                    "ask for the models' status",
                )
            for model in list(waiting):
                reports = model.report()
                states = {one.state for one in reports}
                version = f" version: {reports[0].version}" if reports else ""
                if model.dropped.is_set():
                    reason = " (a later configuration drops it)"
                elif not reports and time.monotonic() >= end:
                    reason = f" (no version that is wanted in {model.config.base_path})"
                else:
                    reason = ""
                if "AVAILABLE" in states and not reason:
                    waiting.remove(model)
                elif reason or states == {"END"}:
                    waiting.remove(model)
                    failed.append(f"{{name: {model.config.name}{version}}}{reason}")
        if waiting:
            raise StatusError(Code.UNAVAILABLE, "the server is shutting down")
        return failed

    def _checked_labels(self, configs: Sequence[ModelConfig]) -> dict[str, dict[str, int]]:
        """Return model to label to version; see :meth:`reload` for what is refused."""
        available = self.available()
        for config in configs:
            known = self._labels.get(config.name, {})
            for label, version in config.labels.items():
                new = known.get(label, version) == version
                if version in available.get(config.name, ()) or (
                    self._labels_for_unavailable and new
                ):
                    continue
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {config.name}, which "
                    "is not currently available for inference",
                )
        return {config.name: dict(config.labels) for config in configs}

    def _start_polling(self, model: Model, at_once: bool) -> None:
        thread = threading.Thread(
            target=self._poll, args=(model, at_once), name=f"poll-{model.config.name}", daemon=True
        )
        thread.start()
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]

    def _poll(self, model: Model, at_once: bool) -> None:
        if at_once:
            model.refresh(retry=True)
        once = self._timing.poll_s <= 0
        wait_s = min(1.0, self._timing.retry_s) if once else self._timing.poll_s
        while not self._stop.wait(wait_s):
            dropped = model.dropped.is_set()
            # Without polling, loads that failed are still tried again.
            if not once or dropped or any(one.state == "LOADING" for one in model.report()):
                model.refresh(retry=True)
            if dropped:
                return

    # --- for requests

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str = ""
    ) -> Iterator[tuple[int, Servable]]:
        """Hold a version while a request runs: yields its number and the servable.

        Raises:
            StatusError: NOT_FOUND for a model or version that is not available,
                INVALID_ARGUMENT for an unknown label.
        """
        if label:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        model = self._models.get(name)
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

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return the state of every version of a model, newest first, or of one.

        Raises:
            StatusError: NOT_FOUND for a model or version that was never seen.
        """
        model = self._models.get(name)
        found = model.report() if model else []
        if version is not None:
            found = [one for one in found if one.version == version]
            if not found:
                raise StatusError(
                    Code.NOT_FOUND, f"Could not find version {version} of model {name}"
                )
        if not found:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return found

    def available(self) -> dict[str, list[int]]:
        """Return model name to the versions that answer now, newest first."""
        return {
            name: [one.version for one in model.report() if one.state == "AVAILABLE"]
            for name, model in self._models.items()
            if not model.dropped.is_set()
        }

    def close(self) -> None:
        """Stop polling and unload everything; runs under way are cancelled."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)  # one that is in the middle of a load ends with the process
        for model in self._models.values():
            model.close()


def _check_started(model: Model) -> None:
    reports = model.report()
    name, base = model.config.name, model.config.base_path
    if not reports:
        raise StatusError(
            Code.NOT_FOUND,
            f"model {name!r} has no version to serve: {base} needs a sub-folder whose name is an "
            "integer and that its version policy wants",
        )
    if not any(one.state == "AVAILABLE" for one in reports):
        first = reports[0]
        raise StatusError(
            Code(first.code),
            f"model {name!r} version {first.version} cannot be loaded: {first.message}",
        )
