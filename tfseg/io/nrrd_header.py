"""What a NRRD file says before its voxels: https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError

MAX_HEADER_BYTES = 1 << 22
_ALIASES = {
    "centerings": "centers", "lineskip": "line skip", "byteskip": "byte skip",
    "datafile": "data file", "axismins": "axis mins", "axismaxs": "axis maxs",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a file says before its voxels.

    Attributes:
        path: of the header.
        fields: the format's fields, in lower case.
        pairs: the ``key:=value`` pairs, which programs add.
        end: where voxels, or a list of their files, begin.
    """

    path: Path
    fields: dict[str, str]
    pairs: dict[str, str]
    end: int

    def words(self, name: str, count: int) -> list[str] | None:
        """Return a field's words; ``None`` where it is not there."""
        return (
            self._counted(name, self.fields[name].split(), count) if name in self.fields else None
        )

    def quoted(self, name: str, count: int) -> list[str] | None:
        """Return a field's texts in quotes; ``None`` where it is not there."""
        if name not in self.fields:
            return None
        return self._counted(name, re.findall(r'"([^"]*)"', self.fields[name]), count)

    def _counted(self, name: str, found: list[str], count: int) -> list[str]:
        if len(found) != count:
            raise DataError(
                f"{self.path}: {name} must have {count} entries; got {self.fields[name][:80]!r}. "
                "Repair the header."
            )
        return found

    def whole(self, name: str, default: int, least: int = 0) -> int:
        """Return a field that is a whole number."""
        text = self.fields.get(name, str(default))
        if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII) or int(text) < least:
            raise DataError(
                f"{self.path}: {name} must be a whole number from {least}; got {text[:80]!r}."
            )
        return int(text)

    def numbers(self, name: str, count: int) -> NDArray[np.float64] | None:
        """Return a field's numbers, NaN where an axis has none; ``None`` without the field."""
        words = self.words(name, count)
        return None if words is None else floats(words, name, self.path)


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what stands before the voxels.

    Raises:
        DataError: missing, or no NRRD.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(MAX_HEADER_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not re.match(rb"NRRD000[1-9]\r?\n", start):
        raise DataError(
            f"{path}: cannot be read as NRRD: it must start with the line NRRD0001 or a later "
            f"version; it starts with {start[:12]!r}."
        )
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    end = start.find(b"\n") + 1
    while end < len(start):
        stop = start.find(b"\n", end)
        stop = len(start) if stop < 0 else stop
        line = start[end:stop].decode("utf-8", "surrogateescape").rstrip("\r")
        end = stop + 1
        if not line:
            break
        if line.startswith("#"):
            continue
        parted = re.match(r"([^:]*?)(:=|:\s+|:$)(.*)", line, re.DOTALL)
        if parted is None:
            raise DataError(f"{path}: a line of the header is no field: {line[:60]!r}.")
        name, mark, value = parted.groups()
        if mark == ":=":
            pairs[name] = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            continue
        name = _ALIASES.get(name.strip().lower(), name.strip().lower())
        if fields.setdefault(name, value.strip()) != value.strip():
            raise DataError(f"{path}: the header must say {name!r} once; it says it twice.")
        if name == "data file" and value.split()[:1] == ["LIST"]:
            break
    for name in ("dimension", "sizes", "type", "encoding"):
        if name not in fields:
            raise DataError(f"{path}: the NRRD header must have {name!r}. Repair it.")
    return Header(path, fields, pairs, end)


def floats(words: list[str], name: str, path: Path) -> NDArray[np.float64]:
    """Return words as numbers."""
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        raise DataError(
            f"{path}: {name} must be numbers; got {' '.join(words)[:80]!r}. Repair the header."
        ) from None
