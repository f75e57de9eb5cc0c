"""NRRD (``.nrrd``, ``.nhdr``): https://teem.sourceforge.net/nrrd/format.html, in LPS as ours.

Read here and not by ITK, which knows no bzip2, no ``space units``, and compares no checksum.
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.files import atomic_path
from tfseg.io.metaimage import beside, pattern
from tfseg.io.nrrd_header import MAX_HEADER_BYTES, Header, floats, read_header
from tfseg.io.stored import (
    PACKING_LEVEL,
    Unpacked,
    most_unpacked,
    planes,
    read_numbers,
    read_samples,
    writable,
)
from tfseg.volume import Volume

_TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_DTYPES = {name: code for code, names in _TYPES.items() for name in names.split(", ")}
_ENCODINGS = {
    "raw": "", "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
    "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
}  # fmt: skip
# Signs that take a space's x, y, z to LPS.
_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
}  # fmt: skip
_UNPLACED = ("scanner-xyz", "3d-right-handed", "3d-left-handed", "3dr", "3dl")
_MM_PER_UNIT = {
    "": 1.0, "?": 1.0, "???": 1.0, "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0,
    "millimetre": 1.0, "millimetres": 1.0, "cm": 10.0, "centimeter": 10.0, "centimeters": 10.0,
    "m": 1e3, "meter": 1e3, "meters": 1e3, "um": 1e-3, "\u00b5m": 1e-3, "\u03bcm": 1e-3,
    "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "micrometers": 1e-3,
    "micrometre": 1e-3, "micrometres": 1e-3, "nm": 1e-6, "nanometer": 1e-6, "nanometers": 1e-6,
}  # fmt: skip
_NOT_SPATIAL = ("list", "point", "vector", "covariant-vector", "normal", "stub", "scalar", "time")

_log = logging.getLogger(__name__)


def read(path: str | os.PathLike[str]) -> Volume:
    """Read a volume; an axis that is not of space becomes channels, last.

    Raises:
        DataError: missing, truncated or damaged (compressed streams by their checksum); complex
            voxels; more than one axis that is not of space; a unit of length that is not known;
            an unusable affine.
    """
    header = read_header(path)
    dimensions = header.whole("dimension", 0, 1)
    sizes = [int(word) for word in _sizes(header, dimensions)]
    spatial = _spatial(header, dimensions)
    if not 2 <= len(spatial) <= 3 or dimensions - len(spatial) > 1:
        raise DataError(
            f"{header.path}: a volume has 2 or 3 axes of space and at most one of channels; this "
            f"file has {len(spatial)} of {dimensions} in space."
        )
    affine = _affine(header, sizes, spatial)
    array = _voxels(header, tuple(sizes[::-1]))
    for axis in set(range(dimensions)) - set(spatial):
        array = np.moveaxis(array, dimensions - 1 - axis, -1)
    if len(spatial) == 2:
        array = array[np.newaxis]
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    return Volume(array, affine)


def write(
    volume: Volume, path: str | os.PathLike[str], pairs: Mapping[str, str] | None = None
) -> None:
    """Write a volume in its own dtype (bool as uint8), compressed; channels as the first axis.

    Args:
        volume: what to write.
        path: the file.
        pairs: keys and values of one line each for the header.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    array = writable(volume.array)
    stored = f"{array.dtype.kind}{array.dtype.itemsize}"
    several = array.ndim == 4
    z, y, x = volume.shape
    steps = [_vector_text(step) for step in volume.affine[:3, 2::-1].T]
    text = (
        f"NRRD0004\ntype: {_TYPES[stored].split(', ')[0]}\ndimension: {array.ndim}\n"
        "space: left-posterior-superior\n"
        f"sizes: {f'{volume.channels} ' if several else ''}{x} {y} {z}\n"
        f"space directions: {'none ' if several else ''}{' '.join(steps)}\n"
        f"kinds: {'vector ' if several else ''}domain domain domain\n"
        f'space units: "mm" "mm" "mm"\nendian: little\nencoding: gzip\n'
        f"space origin: {_vector_text(volume.origin_mm)}\n"
    )
    text += "".join(f"{key}:={value}\n" for key, value in (pairs or {}).items()) + "\n"
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(text.encode())
        # No name and no time in the gzip header: the same volume gives the same file.
        with gzip.GzipFile("", "wb", PACKING_LEVEL, fileobj=file, mtime=0) as packed:
            for plane in planes(array):
                packed.write(plane)


def _vector_text(numbers: Iterable[float]) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"


def _sizes(header: Header, dimensions: int) -> list[str]:
    sizes = header.words("sizes", dimensions) or []
    if not all(re.fullmatch(r"\d{1,18}", size, re.ASCII) for size in sizes):
        raise DataError(
            f"{header.path}: sizes must be whole numbers; got {header.fields['sizes'][:80]!r}."
        )
    return sizes


def _spatial(header: Header, dimensions: int) -> list[int]:
    """Return which axes are of space: those with a direction, else those whose kind says so."""
    kinds = header.words("kinds", dimensions)
    if kinds is not None and "complex" in [kind.lower() for kind in kinds]:
        raise DataError(
            f"{header.path}: voxels must be real numbers; this file stores complex ones."
        )
    vectors = _directions(header, dimensions)
    if vectors is not None:
        return [axis for axis, vector in enumerate(vectors) if vector is not None]
    if kinds is not None:
        axes = [axis for axis, kind in enumerate(kinds) if _is_spatial(kind.lower())]
    else:
        axes = list(range(dimensions))
    return axes[:3] if dimensions == 4 else axes  # a fourth axis of space is ITK's way of time


def _is_spatial(kind: str) -> bool:
    several = re.match(r"[2-9]|rgb|hsv|xyz|quaternion", kind)  # such as RGB-color, 3D-matrix
    return kind not in _NOT_SPATIAL and not several


def _directions(header: Header, dimensions: int) -> list[NDArray[np.float64] | None] | None:
    """Return each axis's step (x, y, z) in the file's space; ``None`` of an axis outside it."""
    if "space directions" not in header.fields:
        return None
    text = re.sub(r"\s*([(,)])\s*", r"\1", header.fields["space directions"])
    words = re.findall(r"none|\([^()]*\)|\S+", text, re.IGNORECASE)
    if len(words) != dimensions:
        raise DataError(
            f"{header.path}: space directions must have {dimensions} entries; got {text[:80]!r}."
        )
    axes: list[NDArray[np.float64] | None] = []
    for word in words:
        vector = None if word.lower() == "none" else _vector(word, "space directions", header.path)
        # In spaces with time, the axis of time has no step in x, y and z.
        in_space = vector is not None and not (len(vector) == 4 and not vector[:3].any())
        axes.append(vector if in_space else None)
    return axes


def _vector(word: str, name: str, path: Path) -> NDArray[np.float64]:
    words = word.strip("()").split(",")
    numbers = floats(words, name, path)
    if not np.isfinite(numbers).all() or not 2 <= len(numbers) <= 4:
        raise DataError(f"{path}: {name} must be vectors like (1,0,0); got {word[:60]!r}.")
    return numbers


def _affine(header: Header, sizes: list[int], spatial: list[int]) -> geometry.Affine:
    vectors = _directions(header, len(sizes))
    steps, origin = np.eye(3), np.zeros(3)  # row k is the step of spatial axis k
    if vectors is not None:
        found = np.array([(*_of_space(vectors[axis]), 0)[:3] for axis in spatial], np.float64)
        steps[: len(spatial)] = found
        if len(spatial) == 2:
            across = np.cross(found[0], found[1])
            steps[2] = across / (np.linalg.norm(across) or 1)
        if "space origin" in header.fields:
            place = _vector(header.fields["space origin"], "space origin", header.path)
            origin[: min(len(place), 3)] = place[:3]
        signs, scale = _to_lps(header)
        steps, origin = steps * signs * scale, origin * signs * scale
    else:
        size_of, place_of = _without_space(header, sizes)
        for position, axis in enumerate(spatial):
            steps[position] *= size_of[axis]
            origin[position] = place_of[axis]
    affine = np.eye(4)
    affine[:3, :3] = steps[::-1].T
    affine[:3, 3] = origin
    return geometry.check_affine(affine, str(header.path))


def _of_space(vector: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return np.zeros(3) if vector is None else vector


def _to_lps(header: Header) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the signs and the mm of a unit of the file's space, for x, y and z."""
    name = header.fields.get("space", "")
    space = name.lower().removesuffix("-time")
    space = space[:3] if space in {"rast", "last", "lpst"} else space
    if space and space not in (*_SPACES, *_UNPLACED):
        raise DataError(
            f"{header.path}: space must be one of {', '.join([*_SPACES, *_UNPLACED])}; got "
            f"{name[:60]!r}."
        )
    if space not in _SPACES:
        _log.warning(
            "%s: its space is %s, which says nothing of the patient's sides; x, y, z are taken "
            "as left, posterior, superior. Where they are not, left and right may be exchanged.",
            header.path, name or "not named",
        )  # fmt: skip
    units = re.findall(r'"([^"]*)"', header.fields.get("space units", ""))
    if "space units" in header.fields and not 2 <= len(units) <= 4:
        raise DataError(
            f"{header.path}: space units must be texts in quotes, one each of x, y and z; got "
            f"{header.fields['space units'][:80]!r}."
        )
    scale = [_mm(unit, "space units", header.path) for unit in units[:3]]
    return np.array(_SPACES.get(space, (1, 1, 1)), float), np.array(
        scale + [1.0] * (3 - len(scale))
    )


def _mm(unit: str, name: str, path: Path) -> float:
    if unit.strip().lower() not in _MM_PER_UNIT:
        raise DataError(
            f"{path}: {name} must be lengths, such as mm, cm, m, um or nm; got {unit[:40]!r}. "
            'Convert the geometry to "mm".'
        )
    return _MM_PER_UNIT[unit.strip().lower()]


def _without_space(
    header: Header, sizes: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return voxel size and place of the first voxel's centre, in mm, of each axis."""
    count = len(sizes)
    units = header.quoted("units", count) or [""] * count
    unit_mm = np.array(
        [_mm(unit, "units", header.path) if unit.strip().lower() in _MM_PER_UNIT else np.nan
         for unit in units]
    )  # fmt: skip
    low = header.numbers("axis mins", count)
    high = header.numbers("axis maxs", count)
    nodes = np.array(
        [word.lower() == "node" for word in header.words("centers", count) or [""] * count]
    )
    spacing = header.numbers("spacings", count)
    if spacing is None and low is not None and high is not None:
        spacing = (high - low) / np.maximum(np.array(sizes) - nodes, 1)
    if spacing is None:
        _log.warning("%s: the header has no voxel sizes; voxels of 1 mm are assumed.", header.path)
        spacing = np.ones(count)
    spacing = np.where(np.isnan(spacing), 1.0, spacing)
    place = np.zeros(count) if low is None else low + np.where(nodes, 0, spacing / 2)
    for axis in _spatial(header, count):
        if np.isnan(unit_mm[axis]):
            _mm(units[axis], "units", header.path)
    return spacing * unit_mm, np.where(np.isnan(place), 0, place) * unit_mm


def _voxels(header: Header, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the stored values, slowest axis first."""
    name = header.fields["type"].lower()
    if name not in _DTYPES:
        raise DataError(f"{header.path}: voxels of type {name[:40]!r} cannot be read. Convert it.")
    encoding = header.fields["encoding"].lower()
    if encoding not in _ENCODINGS:
        raise DataError(
            f"{header.path}: encoding must be one of {', '.join(_ENCODINGS)}; got "
            f"{encoding[:40]!r}."
        )
    kind = _ENCODINGS[encoding]
    dtype = np.dtype(_DTYPES[name])
    endian = header.fields.get("endian", "").lower()
    if endian not in {"little", "big"} and dtype.itemsize > 1 and kind != "text":
        raise DataError(
            f"{header.path}: endian must be little or big for {name}; got {endian[:40]!r}."
        )
    dtype = dtype.newbyteorder(">" if endian == "big" else "<")
    files, each = _files(header, shape)
    parts = [_part(header, file, start, each, dtype, kind) for file, start in files]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.reshape(shape)


def _part(
    header: Header, file: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], kind: str
) -> NDArray[Any]:
    """Return the samples of one file: lines are skipped as they are stored, bytes unpacked."""
    size = file.stat().st_size
    lines = header.whole("line skip", 0)
    if lines:
        with file.open("rb") as stream:
            stream.seek(start)
            while lines and stream.readline():
                lines -= 1
            start = stream.tell()
    skip = header.whole("byte skip", 0, -1)
    if kind in {"text", "hex"}:
        return read_numbers(file, start + max(skip, 0), shape, dtype, hexadecimal=kind == "hex")
    if skip == -1:  # the voxels are at the end
        needed = math.prod(shape) * dtype.itemsize
        whole = _unpacked_bytes(file, start, kind, needed) if kind else size - start
        skip = max(0, whole - needed)
    return read_samples(file, start, shape, dtype, kind, skip)


def _unpacked_bytes(file: Path, start: int, kind: str, needed: int) -> int:
    count = 0
    with file.open("rb") as packed:
        packed.seek(start)
        stream = Unpacked(packed, file, kind, most_unpacked(needed))
        while found := stream.read(1 << 20):
            count += len(found)
    return count


def _files(
    header: Header, shape: tuple[int, ...]
) -> tuple[list[tuple[Path, int]], tuple[int, ...]]:
    """Return (file, first byte) of each part of the voxels, and the shape of a part."""
    path, name = header.path, header.fields.get("data file")
    if name is None:
        if path.suffix.lower() == ".nhdr" and path.stat().st_size <= header.end:
            raise DataError(f"{path}: the header names no data file, and no voxels follow it.")
        return [(path, header.end)], shape
    words = name.split()
    if words[:1] == ["LIST"]:
        with path.open("rb") as file:
            file.seek(header.end)
            text = os.fsdecode(file.read(MAX_HEADER_BYTES))
        names = [line.strip() for line in text.splitlines() if line.strip()]
        given = words[1:]
    elif "%" in name and len(words) in {4, 5}:
        names, given = pattern(words[:4], path), words[4:]
    else:
        return [(beside(path, name), 0)], shape
    spread = int(given[0]) if len(given) == 1 and given[0] in "1234" else len(shape) - 1
    if len(given) > 1 or not 1 <= spread <= len(shape):
        raise DataError(f"{path}: data file cannot be understood: {name[:80]!r}.")
    if spread == len(shape) and names and shape[0] % len(names) == 0:  # each holds a slab
        each: tuple[int, ...] = (shape[0] // len(names), *shape[1:])
        count = len(names)
    else:
        each = (1, *shape[len(shape) - spread :])
        count = math.prod(shape[: len(shape) - spread])
    if len(names) != count:
        raise DataError(f"{path}: {count} data files expected, {len(names)} named.")
    return [(beside(path, one), 0) for one in names], each
