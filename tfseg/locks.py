"""Locks on folders, which the system itself lets go of when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

FILE_NAME = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}

_MOST_TRIES = 1000

_log = logging.getLogger(__name__)


class HeldError(Exception):
    """Another process holds the lock; the text says which, as far as it is known."""


@contextmanager
def locked(folder: Path, *, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of ``folder`` while the block runs; the folder is made where it is missing.

    A folder that was made and is empty at the end is removed again. Where the file system has no
    locks, that is logged as a warning and the block runs.

    Args:
        folder: what the lock stands for. Its lock is ``folder/.lock`` (flock(2)).
        on_wait: called with the holder's description before waiting for it; without it, a lock
            that is held is an error.

    Raises:
        HeldError: another process holds the lock, and ``on_wait`` is not given.
        OSError: the folder cannot be made or written.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    path = folder / FILE_NAME
    handle = _acquire(path, on_wait)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # before it is let go of: who waits for it looks whether it is there
        handle.close()
        with suppress(OSError):  # it holds something by now, so it and its parents stay
            for one in made:
                one.rmdir()


def _acquire(path: Path, on_wait: Callable[[str], None] | None) -> IO[str]:
    tries = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+", encoding="utf-8")
        except (FileNotFoundError, FileExistsError):
            tries += 1
            if tries == _MOST_TRIES:
                raise  # it is not that its last holder has just removed the folder
            continue
        try:
            if _flock(handle, on_wait):
                handle.truncate(0)
                handle.write(f"process {os.getpid()} on {os.uname().nodename}")
                handle.flush()
            if _is_there(path, handle):
                return handle
        except BaseException:
            handle.close()
            raise
        handle.close()


def _is_there(path: Path, handle: IO[str]) -> bool:
    """Tell whether an open file is still in its place: the holder before may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _flock(handle: IO[str], on_wait: Callable[[str], None] | None) -> bool:
    """Lock an open file; False where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        holder = handle.read(200).strip() or "another process"
        if on_wait is None:
            raise HeldError(holder) from None
        on_wait(holder)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _log.warning("%s: this file system has no locks; let no other process write there.",
                     Path(handle.name).parent)  # fmt: skip
        return False
    return True
