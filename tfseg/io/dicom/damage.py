"""What pydicom and its decoders raise on damaged files, in one place."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


def damage() -> tuple[type[Exception], ...]:
    """Return what pydicom and its decoders raise on broken elements and pixel data."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError,
        OSError, RuntimeError, TypeError, ValueError, struct.error, zlib.error,
        BytesLengthException, InvalidDicomError,
    )  # fmt: skip


class IrregularError(ValueError):
    """An element that is whole has a value that the standard excludes: copying will not help."""


def reason(error: BaseException, most: int = 160) -> str:
    """Return the message of an error on one line, cut to ``most`` characters."""
    return " ".join(str(error).split())[:most] or type(error).__name__


@contextmanager
def lenient() -> Iterator[None]:
    """Silence pydicom's remarks on irregular values: what matters is checked here, with words.

    The settings are of the whole process, so this is entered once, around the threads.
    """
    from pydicom import config

    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def require_no_preface(file: BinaryIO) -> None:
    """Refuse a DICOM file that begins after other bytes.

    Raises:
        IrregularError: the first 32 KB hold the beginning of one.
    """
    file.seek(0)
    found = file.read(1 << 15).find(b"DICM\x02\0\0\0UL\x04\0")
    if found >= 0:
        raise IrregularError(
            f"DICM must be bytes 128 to 131 of a file (PS3.10 7.1); it begins at byte {found}, so "
            "something else stands before the file"
        )
