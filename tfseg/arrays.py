"""Arrays in NumPy's archives (``.npz``), from files that are not trusted."""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What NumPy and zipfile raise for a file that is not what they wrote.
DAMAGE: tuple[type[Exception], ...] = (
    OSError, ValueError, TypeError, KeyError, EOFError, SyntaxError, NotImplementedError,
    ArithmeticError, RuntimeError, MemoryError,
    struct.error, zlib.error, tokenize.TokenError, zipfile.BadZipFile,
)  # fmt: skip


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return every array of an archive.

    All checksums are compared first: NumPy stops reading where an array ends by its header, and
    then compares none. No memory is taken for more than the file has.

    Raises:
        FileNotFoundError: there is no such file.
        Exception: one of :data:`DAMAGE`, where it is no archive, damaged, or holds objects.
    """
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
        if wrong is not None:
            raise ValueError(f"the checksum of {wrong} is wrong")
        for member in archive.infolist():
            with archive.open(member) as file:
                _check_size(file, member)
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _check_size(file: Any, member: zipfile.ZipInfo) -> None:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"{member.filename} is of version {version} of NumPy's format")
    size = dtype.itemsize
    for side in shape:
        size *= side
    if size != member.file_size - file.tell():
        raise ValueError(f"{member.filename} is shorter or longer than its header says")
