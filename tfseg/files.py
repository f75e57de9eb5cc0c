"""Files that are either whole or not there: everything tfseg writes goes through here."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tfseg import strict_json
from tfseg.errors import ConfigError, DataError, TfsegError

_PREFIX, _SUFFIX = ".tfseg-", ".partial"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG, errno.EIO}
_LONGEST_NAME = 200  # bytes; file systems end at 255, and suffixes follow
_MOST_WRITERS = 100  # at once, of one folder
_LARGEST_JSON = 1 << 28  # bytes
_FULL_BYTES = 1 << 20  # a disk with less than this left has just refused a write


@contextmanager
def atomic_path(target: str | os.PathLike[str], *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it when the block ends well.

    The temporary name ends with the target's full name, so writers that choose a format by
    suffix see the right one. The block may make a file or a folder of that name. When it
    raises, the temporary is removed and ``target`` is as it was.

    Args:
        target: the file or folder to make.
        replace: ``False`` leaves what is there when the block ends, even if it came meanwhile.

    Raises:
        DataError: the disk is full, the folder cannot be written, or ``target`` exists and must
            not be replaced.
    """
    target = Path(target)
    made = _missing_parents(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        holder, lock = _held_folder(target.parent)
    except OSError as error:
        raise write_error(target, error) from error
    # A folder of our own gives the temporary the target's exact name and one place to clean.
    temporary = holder / target.name
    done = False
    try:
        yield temporary
        if not replace and os.path.lexists(target):
            raise DataError(f"{target} exists already, and is not replaced.")
        if temporary.is_dir() and replace:
            _replace_folder(temporary, target, holder)
        elif temporary.is_dir():
            _place_folder(temporary, target)
        else:
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, target)
        done = True
    except TfsegError:
        raise
    except Exception as error:
        # Libraries report a full disk in their own words, often without its error number.
        said = os.strerror(errno.ENOSPC) in str(error)
        if said or shutil.disk_usage(holder).free < _FULL_BYTES:
            raise write_error(target, OSError(errno.ENOSPC, "")) from error
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise write_error(target, error) from error
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)
        os.close(lock)
        if not done:
            _remove_empty(made)


def _held_folder(parent: Path) -> tuple[Path, int]:
    """Make a temporary folder, locked for as long as this process lives; return its lock, too."""
    while True:
        holder = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=parent))
        with suppress(FileNotFoundError):
            lock = os.open(holder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if holder.exists():
                return holder, lock
            os.close(lock)
        # It was taken for abandoned before it was locked.


def check_outputs(targets: Iterable[str | os.PathLike[str]], *, overwrite: bool) -> None:
    """Refuse outputs that exist or cannot be written, before the work that leads to them.

    Args:
        targets: files and folders to make.
        overwrite: those that exist may be replaced.

    Raises:
        ConfigError: some exist, and must not be replaced.
        DataError: a folder cannot be written.
    """
    paths = [Path(target) for target in targets]
    there = [] if overwrite else [path for path in paths if os.path.lexists(path)]
    if there:
        more = f", and so do {len(there) - 1} others" if len(there) > 1 else ""
        raise ConfigError(
            f"{there[0]} exists{more}; results replace nothing that is there. "
            f"Name another output, or give --overwrite."
        )
    for folder, path in {path.parent: path for path in reversed(paths)}.items():
        check_folder(folder, path)


def check_folder(
    folder: str | os.PathLike[str], target: str | os.PathLike[str] | None = None
) -> None:
    """Refuse a folder that cannot be written or made. Nothing of the trial stays.

    Args:
        folder: the folder, which need not exist yet.
        target: what the message names instead of it.

    Raises:
        DataError: see :func:`write_error`.
    """
    folder = Path(folder)
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    try:
        # A permission that the system grants says little: disks are read-only, shares full.
        Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=existing)).rmdir()
    except OSError as error:
        raise write_error(Path(target or folder), error) from error


def _missing_parents(target: Path) -> list[Path]:
    """Return the folders above ``target`` that do not exist yet, innermost first."""
    return [folder for folder in target.parents if not folder.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return  # it holds something by now, so it and its parents stay


def is_partial(path: Path) -> bool:
    """Tell whether a path is, or lies in, what a writer has not finished."""
    return any(part.startswith(_PREFIX) and part.endswith(_SUFFIX) for part in path.parts)


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left right in ``folder``, and nothing of those that still write.

    Where the file system has no locks, everything stays.
    """
    for left in Path(folder).glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def remove_partials(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left in ``folder``; nobody else may be writing there."""
    for left in Path(folder).rglob(f"{_PREFIX}*{_SUFFIX}"):
        shutil.rmtree(left, ignore_errors=True)


def _place_folder(new: Path, target: Path) -> None:
    try:
        os.rename(new, target)  # rename(2) replaces no folder that has content
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        raise DataError(f"{target} exists already, and is not replaced.") from None


def _replace_folder(new: Path, target: Path, holder: Path) -> None:
    # rename(2) replaces no folder that has content: move the old one into the holder first.
    for number in range(_MOST_WRITERS):
        with suppress(FileNotFoundError):  # there is none, or another writer moved it
            os.rename(target, holder / f"replaced-{number}")
        try:
            os.rename(new, target)
        except OSError as error:
            # Another writer has put its own there in between: the last one wins.
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST} or number + 1 == _MOST_WRITERS:
                raise
        else:
            return


def write_error(target: Path, error: OSError) -> DataError:
    """Return the error for a file or folder that cannot be written, with the reason."""
    # Inside another atomic write, name the place that the person asked for.
    kept = [part for part in target.parts if not _is_partial(part)]
    target = Path(*kept)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DataError(f"cannot write {target}: the disk is full. Free some space and try again.")
    return DataError(
        f"cannot write {target}: {error.strerror or error}. "
        "Choose an output folder that exists on a writable disk."
    )


def _is_partial(name: str) -> bool:
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def not_a_file_name(text: str) -> str:
    """Return why ``text`` cannot name a file within a folder on every system, or an empty text."""
    if not text or text in {".", ".."}:
        return "names no file"
    if any(mark in text for mark in "/\\"):
        return "has a separator of folders"
    if not text.isprintable():
        return "has a character that cannot be printed"
    if len(os.fsencode(text)) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    return ""


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], document: Any) -> None:
    """Write ``document`` as indented JSON atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Return the JSON document at ``path``.

    Args:
        path: the file.
        what: what it should be, for the message, e.g. ``"the plan"``.

    Raises:
        DataError: the file is missing, unreadable, too large or no JSON; see
            :mod:`tfseg.strict_json`.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise DataError(
                f"{what} may have {_LARGEST_JSON} bytes; {path} has {path.stat().st_size}."
            )
        return strict_json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{what} is missing: there is no file {path}.") from None
    except OSError as error:
        raise DataError(f"{what} cannot be read: {path}: {error.strerror or error}.") from error
    except strict_json.JsonError as error:
        raise DataError(f"{what} is not valid JSON: {path}: {error}.") from error


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
