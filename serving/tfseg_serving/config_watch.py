"""Looks at the models.config file now and then, and serves what it says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tfseg.errors import TfsegError
from tfseg_serving.config import models_from_text
from tfseg_serving.protos import read_text_file
from tfseg_serving.status import StatusError
from tfseg_serving.versions import ModelConfig

_LOG = logging.getLogger(__name__)


class ConfigWatcher:
    """A thread that reloads the configuration when its file changes.

    A file that cannot be read or is refused is logged, and what was served stays; it is tried
    again at the next look.

    Args:
        path: the file.
        poll_s: seconds between two looks.
        reload: serves other models; raises :class:`StatusError`.
    """

    def __init__(
        self, path: Path, poll_s: float, reload: Callable[[Sequence[ModelConfig]], None]
    ) -> None:
        self._path = path
        self._poll_s = poll_s
        self._reload = reload
        self._stop = threading.Event()
        self._applied = read_text_file(path, "--config")
        self._refused: str | None = None
        self._thread = threading.Thread(target=self._watch, name="config", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                text = read_text_file(self._path, "--config")
                if text == self._applied:
                    continue
                self._reload(models_from_text(text, str(self._path)))
            except (TfsegError, StatusError) as error:
                if str(error) != self._refused:  # once, not at every look
                    _LOG.error("%s is not applied: %s", self._path, error)
                self._refused = str(error)
                continue
            self._applied, self._refused = text, None
            _LOG.info("%s is applied", self._path)
