"""Where DICOM files may be: a folder, a zip, a single file."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfseg.errors import DataError

_MOST_FILES = 200_000
_MOST_GROWTH = 200  # times the zip's size; scans shrink to a half or a third
_ALWAYS_ALLOWED_BYTES = 1 << 30


@contextmanager
def opened(source: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder or file with the source's DICOM files.

    A zip is unpacked into a temporary folder of the user's own, which is removed in the end.

    Raises:
        DataError: no such source; a zip that is damaged, encrypted or grows out of proportion.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder. Check the path.")
    if not (source.is_file() and zipfile.is_zipfile(source)):
        yield source
        return
    folder = Path(tempfile.mkdtemp(prefix="tfseg-"))
    try:
        _unpack(source, folder)
        yield folder
    except DataError as error:
        # Name what the person gave, not where it was unpacked.
        error.args = tuple(str(part).replace(str(folder), str(source)) for part in error.args)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            total = sum(member.file_size for member in members)
            most = max(_ALWAYS_ALLOWED_BYTES, _MOST_GROWTH * source.stat().st_size)
            if total > most or len(members) > _MOST_FILES:
                raise DataError(
                    f"{source}: a zip may hold {_MOST_FILES} files and {most} bytes; this one "
                    f"holds {len(members)} files of {total} bytes. Unpack it yourself."
                )
            free = shutil.disk_usage(folder).free
            if total > free:
                raise DataError(
                    f"{source}: unpacking needs {total} bytes in {folder.parent}; {free} are free. "
                    "Free some space, or set TMPDIR to a larger disk."
                )
            for member in members:
                # extract() leaves out what would lead out of the folder.
                archive.extract(member, folder)
    except (
        zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError,
        OSError,
    ) as error:  # fmt: skip
        if isinstance(error, DataError):
            raise
        text = " ".join(str(error).split())[:120]
        raise DataError(f"{source}: the zip cannot be unpacked ({text}).") from error
