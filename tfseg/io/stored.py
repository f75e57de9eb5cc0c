"""Stored voxels, plain or compressed: as many bytes as the header says, all from the file.

What a compressed stream holds is believed only when its checksum has been compared: Adler-32 in
zlib (RFC 1950), CRC-32 in gzip (RFC 1952) and in bzip2.
"""

from __future__ import annotations

import bz2
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError

PACKING_LEVEL = 4  # two thirds of level 9's time go into the last 2 % of the size
MAX_VOXELS = 2**33  # sixteen times a 1024 x 1024 x 512 CT: beyond this a header is not believed
_DEFLATE_MAX_RATIO = 1032  # the most that DEFLATE can shrink: 258 bytes to 2 bits (RFC 1951)
_BLOCK = 1 << 20
_SLACK = 1 << 26
_MOST_SKIPPED = 1 << 30
_MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZh"}
_ZLIB_OR_GZIP = 47  # windowBits of zlib.h: recognise either by its header

_log = logging.getLogger(__name__)


class Stream(Protocol):
    """What voxels are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class Unpacked:
    """What a compressed stream holds, as a stream.

    Args:
        file: at the first compressed byte.
        path: for messages.
        kind: ``gzip`` or ``bzip2``, one stream or several in a row, or ``zlib``, one stream of
            zlib or gzip.

    Attributes:
        most: bytes that it may hold, so that little cannot become endless.
    """

    def __init__(self, file: BinaryIO, path: Path, kind: str, most: int = 2 * MAX_VOXELS) -> None:
        self._file, self._path, self._kind = file, path, kind
        self.most, self._count = most, 0
        self._input = b""
        self._unpacker: Any = self._new()
        self._done = False

    def _new(self) -> Any:
        return bz2.BZ2Decompressor() if self._kind == "bzip2" else zlib.decompressobj(_ZLIB_OR_GZIP)

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end.

        Raises:
            DataError: the stream is damaged, ends before its checksum, or does not end.
        """
        while size > 0 and not self._done:
            if self._unpacker.eof:
                self._input = self._unpacker.unused_data
                self._next()
                continue
            hungry = self._kind != "bzip2" or self._unpacker.needs_input
            if hungry and not self._input:
                self._input = self._file.read(_BLOCK)
                if not self._input:
                    raise DataError(
                        f"{self._path}: the {self._kind} data end too early. Copy the file again."
                    )
            try:
                found = self._unpacker.decompress(self._input if hungry else b"", size)
            except (zlib.error, OSError) as error:
                raise DataError(
                    f"{self._path}: the {self._kind} data are corrupt ({error}). "
                    "Copy the file again."
                ) from error
            if self._kind != "bzip2":
                self._input = self._unpacker.unconsumed_tail
            elif hungry:
                self._input = b""
            self._count += len(found)
            if self._count > self.most:
                raise DataError(
                    f"{self._path}: the {self._kind} data hold more than {self.most} bytes, far "
                    "more than the header tells of. Repair the header."
                )
            if found:
                return bytes(found)
        return b""

    def finish(self) -> None:
        """Read to the end, where the checksum is; say what is left over."""
        left = 0
        while found := self.read(_BLOCK):
            left += len(found)
        say_left_over(self._path, left)

    def _next(self) -> None:
        """Go on with the next stream, or end."""
        magic = _MAGIC.get(self._kind)
        while len(self._input) < 4 and (more := self._file.read(_BLOCK)):
            self._input += more
        if magic and self._input.startswith(magic):
            self._unpacker = self._new()
            return
        self._done = True
        left, zeros = 0, True  # blocks are filled up with zeros on tapes and by some writers
        while self._input:
            left, zeros = left + len(self._input), zeros and not self._input.strip(b"\0")
            self._input = self._file.read(_BLOCK)
        if not zeros:
            _log.warning(
                "%s: %d bytes follow the %s data; they are left out.", self._path, left, self._kind
            )


def most_unpacked(needed: int) -> int:
    """Return how many bytes a stream may hold whose header tells of ``needed``."""
    return 2 * needed + _SLACK


def say_left_over(path: Path, left: int) -> None:
    """Warn that a file holds more than its header tells of."""
    if left:
        _log.warning(
            "%s: %d bytes follow the voxels that the header tells of; they are left out. "
            "If they are voxels, the header's sizes are wrong.",
            path, left,
        )  # fmt: skip


def check_size(path: Path, shape: Sequence[int], sample: int, size: int, kind: str = "") -> int:
    """Return the bytes of the voxels after checking that a file can hold them.

    Args:
        path: for messages.
        shape: sizes of all axes, as the header says.
        sample: bytes a sample.
        size: bytes that the file has for them.
        kind: of compression, or empty.

    Raises:
        DataError: an empty axis, or more than fits.
    """
    if not shape or min(shape) < 1:
        raise DataError(
            f"{path}: every size must be at least 1; the header says {tuple(shape)}. "
            "Repair the header."
        )
    voxels = math.prod(shape)
    needed = voxels * sample
    most = {"": size, "bzip2": needed}.get(kind, size * _DEFLATE_MAX_RATIO)
    if voxels <= MAX_VOXELS and needed <= most:
        return needed
    if not kind and voxels <= MAX_VOXELS and 2 * size > needed:
        raise DataError(
            f"{path}: truncated: {needed} bytes of voxels expected, {max(size, 0)} found. "
            "Copy the file again."
        )
    raise DataError(
        f"{path}: the header says {' x '.join(map(str, shape))} voxels ({needed} bytes), "
        f"more than a file of {path.stat().st_size} bytes holds. It is truncated or its header "
        "is broken."
    )


def read_bytes(stream: Stream, needed: int, path: Path) -> NDArray[np.uint8]:
    """Return exactly ``needed`` bytes; memory grows with what is found, not with what is said.

    Raises:
        DataError: the stream holds fewer.
    """
    buffer = bytearray()
    while len(buffer) < needed:
        found = stream.read(min(_BLOCK, needed - len(buffer)))
        if not found:
            raise DataError(
                f"{path}: truncated: {needed} bytes of voxels expected, {len(buffer)} found. "
                "Copy the file again."
            )
        buffer += found
    return np.frombuffer(buffer, np.uint8)


def read_samples(
    path: Path, start: int, shape: Sequence[int], dtype: np.dtype[Any], kind: str, skip: int = 0
) -> NDArray[Any]:
    """Return the samples of a file's part that begins at a byte, flat, in native byte order.

    Args:
        path: the file.
        start: first byte.
        shape: sizes of all axes, as the header says.
        dtype: as stored.
        kind: of compression (``gzip``, ``zlib``, ``bzip2``), or empty.
        skip: bytes to skip of what was unpacked.

    Raises:
        DataError: missing, truncated or damaged.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size - start
            needed = check_size(path, shape, dtype.itemsize, size - (0 if kind else skip), kind)
            if skip > _MOST_SKIPPED:
                raise DataError(f"{path}: at most {_MOST_SKIPPED} bytes are skipped; got {skip}.")
            file.seek(start)
            stream = Unpacked(file, path, kind, skip + most_unpacked(needed)) if kind else file
            left = skip
            while left > 0 and (found := stream.read(min(_BLOCK, left))):
                left -= len(found)
            raw = read_bytes(stream, needed, path)
            if isinstance(stream, Unpacked):
                stream.finish()
            else:
                say_left_over(path, size - skip - needed)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return raw.view(dtype).astype(dtype.newbyteorder("="), copy=False)


def read_numbers(
    path: Path, start: int, shape: Sequence[int], dtype: np.dtype[Any], *, hexadecimal: bool = False
) -> NDArray[Any]:
    """Return samples that are stored as text, flat.

    Args:
        path: the file.
        start: first byte of the text.
        shape: sizes of all axes, as the header says.
        dtype: of the samples; with ``hexadecimal`` as their bytes stand in the text.
        hexadecimal: two digits a byte; otherwise decimal numbers between blanks or commas.

    Raises:
        DataError: fewer or more numbers than the header says, or other text.
    """
    size = path.stat().st_size - start
    # A decimal number takes a digit and a blank, the last one the digit alone.
    least = check_size(path, shape, 2 * dtype.itemsize if hexadecimal else 2, size + 1)
    what = "bytes" if hexadecimal else "numbers"
    expected = least // 2 if hexadecimal else math.prod(shape)
    parts: list[NDArray[Any]] = []
    found = 0
    try:
        with path.open("rb") as file:
            file.seek(start)
            for words in _words(file):
                parts.append(_bytes_of(words) if hexadecimal else _parsed(words, dtype))
                found += len(parts[-1])
                if found > expected:
                    break
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, OverflowError) as error:
        reason = str(error)[:80]
        raise DataError(f"{path}: the text of the voxels is damaged ({reason}).") from error
    if found != expected:
        raise DataError(
            f"{path}: {expected} {what} of voxels expected, {found} found. Copy the file again."
        )
    values = np.concatenate(parts)
    return values.view(dtype).astype(dtype.newbyteorder("="), copy=False) if hexadecimal else values


def _words(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield what stands between blanks and commas, some of it at a time."""
    rest = b""
    while block := file.read(_BLOCK):
        text = (rest + block).replace(b",", b" ")
        cut = max(text.rfind(blank) for blank in (b" ", b"\n", b"\t", b"\r")) + 1
        if cut == 0 and len(text) > _BLOCK and not _is_hex(text):
            raise ValueError("a word without an end")
        if cut == 0 and len(text) > _BLOCK:
            cut = len(text) // 2 * 2  # hexadecimal digits may stand in one line
        yield text[:cut].split()
        rest = text[cut:]
    yield rest.split()


def _is_hex(text: bytes) -> bool:
    return not text.strip(b"0123456789abcdefABCDEF")


def _bytes_of(words: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray.fromhex(b"".join(words).decode("ascii")), np.uint8)


def _parsed(words: list[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    native = dtype.newbyteorder("=")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite then, which is refused where it matters
            return np.array([float(word) for word in words], np.float64).astype(native)
    return np.array([int(word) for word in words], native)


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """Return voxels in a type that volume formats have: bool as uint8, half as float32."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def planes(array: NDArray[Any]) -> Iterator[memoryview]:
    """Yield the bytes of each plane along the first axis, little-endian."""
    for plane in array:
        yield np.ascontiguousarray(plane, array.dtype.newbyteorder("<")).data.cast("B")
