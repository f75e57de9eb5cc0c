"""MetaImage (``.mha``, ``.mhd``), whose frame is LPS as ours.

Read here and not by ITK, which gives memory that it never wrote as voxels where a compressed
stream is damaged. The format's own description is
https://itk.org/Wiki/ITK/MetaIO/Documentation; the meaning of its tags is ITK's.
"""

from __future__ import annotations

import logging
import math
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.io.stored import PACKING_LEVEL, planes, read_numbers, read_samples, writable
from tfseg.volume import Volume

_MAX_HEADER_BYTES = 1 << 22
_TYPES = {
    "MET_CHAR": "i1", "MET_ASCII_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2",
    "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_MM_PER_UNIT = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "?": 1.0}
_MOST_FILES = 1 << 16

_log = logging.getLogger(__name__)


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a volume; several channels, or a fourth dimension, become channels, last.

    Raises:
        DataError: missing, truncated or damaged (compressed streams by their checksum); a header
            that breaks its rules; an unusable affine.
    """
    path = Path(path)
    fields, end = _header(path)
    sizes = _whole(fields, "DimSize", path)
    dimensions = len(sizes)
    if fields["NDims"] != str(dimensions):
        raise DataError(
            f"{path}: DimSize must be NDims = {fields['NDims']} sizes; got {fields['DimSize']!r}."
        )
    if not 2 <= dimensions <= 4:
        raise DataError(f"{path}: a volume has 2 to 4 dimensions; this file has {dimensions}.")
    channels = _whole(fields, "ElementNumberOfChannels", path, (1,))[0]
    if dimensions == 4 and channels > 1:
        raise DataError(f"{path}: a fourth dimension of vector voxels cannot be read.")
    affine = _affine(fields, dimensions, path)
    array = _voxels(fields, end, (*sizes[::-1], channels), path)
    if dimensions == 2:
        array = array[np.newaxis]
    elif dimensions == 4:
        array = np.moveaxis(array[..., 0], 0, -1)
    if array.shape[3] == 1:
        array = array[..., 0]
    return Volume(array, affine)


def write(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write an ``.mha`` in the volume's own dtype (bool as uint8), compressed; channels as such.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    array = writable(volume.array)
    packer = zlib.compressobj(PACKING_LEVEL)
    packed = [packer.compress(plane) for plane in planes(array)]
    packed.append(packer.flush())
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header_of(volume.with_array(array), "LOCAL", sum(map(len, packed))))
        file.writelines(packed)


def header_of(volume: Volume, where: str, packed: int | None = None) -> bytes:
    """Return the header of a volume whose voxels are in the file ``where``.

    Args:
        volume: the voxels, little-endian in the file.
        where: ``LOCAL``, or a file beside the header.
        packed: bytes of the zlib stream; ``None`` for voxels that are not compressed.
    """
    size = "" if packed is None else f"CompressedDataSize = {packed}\n"
    channels = f"ElementNumberOfChannels = {volume.channels}\n" if volume.channels > 1 else ""
    stored = f"{volume.array.dtype.kind}{volume.array.dtype.itemsize}"
    kind = next(name for name, code in _TYPES.items() if code == stored)
    z, y, x = volume.shape
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = {packed is not None}\n{size}"
        f"TransformMatrix = {_text(volume.direction[:, ::-1].T.ravel())}\n"
        f"Offset = {_text(volume.origin_mm)}\nCenterOfRotation = 0 0 0\n"
        f"ElementSpacing = {_text(volume.spacing_mm[::-1])}\nDimSize = {x} {y} {z}\n"
        f"{channels}ElementType = {kind}\nElementDataFile = {where}\n"
    ).encode()


def _text(numbers: Iterable[float]) -> str:
    return " ".join(repr(float(number)) for number in numbers)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields, and where the header ends: behind the line of ``ElementDataFile``."""
    try:
        with path.open("rb") as file:
            start = file.read(_MAX_HEADER_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    fields: dict[str, str] = {}
    end = 0
    while "ElementDataFile" not in fields and end < len(start):
        stop = start.find(b"\n", end)
        stop = len(start) if stop < 0 else stop
        key, _, value = os.fsdecode(start[end:stop]).partition("=")
        key, value = key.strip(), value.strip()
        if fields.setdefault(key, value) != value and key in _USED:
            raise DataError(f"{path}: the header must say {key} once; it says it twice.")
        end = stop + 1
    for key in ("NDims", "DimSize", "ElementType", "ElementDataFile"):
        if key not in fields:
            raise DataError(f"{path}: no MetaImage file: its header must have {key}.")
    if fields.get("ObjectType", "Image") != "Image":
        raise DataError(
            f"{path}: a MetaImage must be of ObjectType Image; got {fields['ObjectType']!r}."
        )
    return fields, end


_POSITION = ("Offset", "Position", "Origin")
_DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
_MSB = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_USED = (
    "NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "ElementSpacing", "ElementSize",
    "HeaderSize", "BinaryData", "CompressedData", "DistanceUnits", *_POSITION, *_DIRECTION, *_MSB,
)  # fmt: skip


def _whole(
    fields: dict[str, str], key: str, path: Path, default: tuple[int, ...] = ()
) -> tuple[int, ...]:
    if key not in fields:
        return default
    words = fields[key].split()
    if not words or not all(word.isdecimal() and len(word) < 19 for word in words):
        raise DataError(
            f"{path}: {key} must be whole numbers; got {fields[key][:80]!r}. Repair the header."
        )
    return tuple(map(int, words))


def _flag(fields: dict[str, str], key: str, path: Path, default: bool) -> bool:
    value = fields.get(key, str(default)).lower()
    if value not in {"true", "false", "t", "f", "1", "0"}:
        raise DataError(f"{path}: {key} must be True or False; got {fields[key][:80]!r}.")
    return value[0] in "t1"


def _numbers(
    fields: dict[str, str], keys: Sequence[str], count: int, path: Path
) -> NDArray[np.float64] | None:
    """Return the numbers of the one field that is there; several must agree."""
    found: NDArray[np.float64] | None = None
    for key in keys:
        if key not in fields:
            continue
        try:
            numbers = np.array([float(word) for word in fields[key].split()])
        except ValueError:
            numbers = np.empty(0)
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise DataError(
                f"{path}: {key} must be {count} numbers; got {fields[key][:80]!r}. "
                "Repair the header."
            )
        if found is not None and not np.array_equal(found, numbers):
            raise DataError(
                f"{path}: {' and '.join(key for key in keys if key in fields)} are names for one "
                "thing and must agree. Remove the wrong one."
            )
        found = numbers
    return found


def _affine(fields: dict[str, str], dimensions: int, path: Path) -> geometry.Affine:
    """Return the affine of the first three axes; row k of the matrix is axis k's direction."""
    used = min(dimensions, 3)
    direction, origin, spacing = np.eye(3), np.zeros(3), np.ones(3)
    sizes = _numbers(fields, ["ElementSpacing"], dimensions, path)
    if sizes is None:
        sizes = _numbers(fields, ["ElementSize"], dimensions, path)
    if sizes is None:
        _log.warning("%s: the header has no ElementSpacing; voxels of 1 mm are assumed.", path)
    else:
        spacing[:used] = sizes[:used]
    place = _numbers(fields, _POSITION, dimensions, path)
    if place is not None:
        origin[:used] = place[:used]
    matrix = _numbers(fields, _DIRECTION, dimensions**2, path)
    if matrix is not None:
        rows = matrix.reshape(dimensions, dimensions)
        direction[:used, :used] = rows[:used, :used].T
    unit = fields.get("DistanceUnits", "mm")
    if unit not in _MM_PER_UNIT:
        raise DataError(
            f"{path}: DistanceUnits must be one of {', '.join(_MM_PER_UNIT)}; got {unit[:40]!r}. "
            "Say mm, with ElementSpacing and Offset in mm."
        )
    mm = _MM_PER_UNIT[unit]
    if mm != 1:
        spacing[:used] *= mm
        origin *= mm
    affine = geometry.affine_from_geometry(spacing[::-1], origin, direction[:, ::-1])
    return geometry.check_affine(affine, str(path))


def _voxels(
    fields: dict[str, str], end: int, shape: tuple[int, ...], path: Path
) -> NDArray[np.generic]:
    """Return the stored values, ``shape`` being (..., z, y, x, channels)."""
    kind = fields["ElementType"].removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise DataError(
            f"{path}: ElementType must be one of {', '.join(_TYPES)}; got "
            f"{fields['ElementType'][:80]!r}."
        )
    dtype = np.dtype(_TYPES[kind]).newbyteorder(_byte_order(fields, _TYPES[kind], path))
    for key, neutral in (("Slope", 1.0), ("Offset", 0.0)):
        key = f"ElementToIntensityFunction{key}"
        value = _numbers(fields, [key], 1, path)
        if value is not None and value[0] != neutral:
            _log.warning(
                "%s: %s is %g; it is not applied, as ITK does not. Values are as stored.",
                path, key, value[0],
            )  # fmt: skip
    binary = _flag(fields, "BinaryData", path, True)
    packed = "zlib" if _flag(fields, "CompressedData", path, False) else ""
    if packed and not binary:
        raise DataError(f"{path}: compressed voxels must be binary; BinaryData is False.")
    files, each = _files(fields, end, shape, path)
    parts = []
    for file, start in files:
        if not binary:
            parts.append(read_numbers(file, start, each, dtype))
            continue
        begin = _begin(fields, file, start, math.prod(each) * dtype.itemsize, path)
        parts.append(read_samples(file, begin, each, dtype, packed))
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.reshape(shape)


def _byte_order(fields: dict[str, str], stored: str, path: Path) -> Any:
    given = {_flag(fields, key, path, False) for key in _MSB if key in fields}
    if len(given) == 2:
        raise DataError(f"{path}: {' and '.join(_MSB)} must agree. Remove the wrong one.")
    if not given and stored[1] != "1":
        _log.warning("%s: the header says no byte order; little-endian is assumed.", path)
    return ">" if True in given else "<"


def _begin(fields: dict[str, str], file: Path, start: int, needed: int, path: Path) -> int:
    """Return the first byte of the voxels: ``HeaderSize`` bytes in, or -1: at the file's end."""
    text = fields.get("HeaderSize", "0")
    if not text.removeprefix("-").isdecimal() or len(text) > 18 or int(text) < -1:
        raise DataError(f"{path}: HeaderSize must be -1, 0 or more; got {text[:40]!r}.")
    skip = int(text)
    if skip == 0:
        return start
    if skip == -1:
        if _flag(fields, "CompressedData", path, False):
            raise DataError(f"{path}: HeaderSize -1 needs voxels that are not compressed.")
        return max(file.stat().st_size - needed, start)
    if skip < start or skip > file.stat().st_size:
        raise DataError(
            f"{path}: HeaderSize must lie in {file.name}, behind the header; got {skip} of "
            f"{file.stat().st_size} bytes."
        )
    return skip


def _files(
    fields: dict[str, str], end: int, shape: tuple[int, ...], path: Path
) -> tuple[list[tuple[Path, int]], tuple[int, ...]]:
    """Return (file, first byte) of each part of the voxels, and the shape of a part."""
    name = fields["ElementDataFile"]
    words = name.split()
    if name.upper() == "LOCAL":
        return [(path, end)], shape
    dimensions = len(shape) - 1
    if words and words[0].upper() == "LIST":
        spread = int(words[1]) if len(words) == 2 and words[1] in "1234" else dimensions - 1
        names = _listed(path, end)
    elif "%" in name and len(words) == 4:
        names = pattern(words, path)
        spread = dimensions - 1
    else:
        return [(beside(path, name), 0)], shape
    if (len(words) > 2 and "%" not in name) or not 1 <= spread <= dimensions:
        raise DataError(f"{path}: ElementDataFile cannot be understood: {name[:80]!r}.")
    count = math.prod(shape[: dimensions - spread])
    if len(names) != count:
        raise DataError(
            f"{path}: {count} files of voxels expected, {len(names)} named. Repair the header."
        )
    return [(beside(path, each), 0) for each in names], (1, *shape[dimensions - spread :])


def _listed(path: Path, end: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(end)
        text = os.fsdecode(file.read(_MAX_HEADER_BYTES))
    return [line.strip() for line in text.splitlines() if line.strip()]


def pattern(words: Sequence[str], path: Path) -> list[str]:
    """Return the names that ``<format> <first> <last> <step>`` stands for, as C's printf does.

    Raises:
        DataError: another format than one whole number, or numbers that make no series.
    """
    head, _, tail = words[0].partition("%")
    digits = tail.split("d")[0]
    numbers = [word for word in words[1:] if word.removeprefix("-").isdecimal() and len(word) < 10]
    step = int(numbers[2]) if len(numbers) == 3 else 0
    if len(words) != 4 or step == 0 or len(digits) > 3 or "d" not in tail or "%" in tail:
        raise DataError(
            f"{path}: names of files must be like slice%03d.raw 1 20 1; got "
            f"{' '.join(words)[:80]!r}."
        )
    if digits and not digits.isdecimal():
        raise DataError(
            f"{path}: names of files must be like slice%03d.raw; got {words[0][:80]!r}."
        )
    places = range(int(numbers[0]), int(numbers[1]) + (1 if step > 0 else -1), step)
    if len(places) > _MOST_FILES:
        raise DataError(
            f"{path}: {len(places)} files of voxels are named; no more than {_MOST_FILES}."
        )
    width = int(digits or 0)
    fill = "0" if digits.startswith("0") else " "
    return [head + str(place).rjust(width, fill) + tail[len(digits) + 1 :] for place in places]


def beside(path: Path, name: str) -> Path:
    """Return the file of voxels that a header names; it must lie in the header's folder.

    Raises:
        DataError: it lies elsewhere, or does not exist.
    """
    relative = Path(os.path.normpath(name.replace("\\", "/"))) if name else Path("..")
    if relative.is_absolute() or relative.parts[:1] == ("..",) or "\0" in name:
        raise DataError(
            f"{path}: the voxels must be beside the header or below its folder; it names "
            f"{name[:120]!r}. Put the file there and name it without a folder."
        )
    found = path.parent / relative
    try:
        there = found.is_file() and found.resolve() != path.resolve()
    except OSError:  # a name that no disk can hold
        there = False
    if not there:
        raise DataError(f"{path}: the voxels are missing: there is no file {str(found)[:160]!r}.")
    return found
