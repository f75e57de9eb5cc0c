"""The elements of one DICOM file up to its pixels: a small, fast reader of PS3.5 chapter 7.

Only the elements of :data:`WANTED` are kept, those that name the patient as digests; the others
are stepped over. A header costs a tenth of what a general reader takes, which is most of the time
of reading an uncompressed series. Files that need sequences (multi-frame, Modality LUT, PET)
have these read by pydicom, see :mod:`.dataset`.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfseg.io.dicom.charsets import decoded, printable
from tfseg.io.dicom.damage import IrregularError, require_no_preface
from tfseg.io.dicom.wanted import WANTED

_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_MEDIA_CLASS, _TRANSFER_SYNTAX = 0x00020002, 0x00020010
IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
)  # fmt: skip
# Value representations with a length of 32 bits after two reserved bytes (PS3.5 7.1.2).
_LONG = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_SHORT = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN",
     b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_CHUNK = 1 << 15  # most headers fit; private ones are stepped over
_MAX_VALUE = 1 << 16  # of an element that is kept
_MAX_DEPTH = 32  # of sequences in sequences
_MAX_INFLATED = 1 << 31
_GROUPED = b"_"  # in numbers of Python, not in those of DICOM
_ENCODED_AS_THEY_SAY = frozenset((IMPLICIT, EXPLICIT, BIG_ENDIAN))


class PixelPlace(NamedTuple):
    """Where the pixels are: keyword, first byte in the file, bytes (``None``: encapsulated).

    ``in_words`` tells that bytes are exchanged in pairs: words of 16 bits in big endian.
    """

    keyword: str
    offset: int
    length: int | None
    in_words: bool = False


@dataclass(slots=True)
class Elements:
    """The wanted elements of a file.

    Attributes:
        syntax: transfer syntax UID; of uncompressed files the one that the bytes are in, which
            may be another than the file says.
        encoding: the one of the uncompressed syntaxes that the elements are in.
        media_class: MediaStorageSOPClassUID, which a DICOMDIR has; empty where absent.
        pixels: where the pixel data is, or ``None``; in a deflated file the offset counts in
            the inflated bytes.
        values: keyword -> raw bytes.
    """

    syntax: str
    encoding: str
    media_class: str = ""
    pixels: PixelPlace | None = None
    values: dict[str, bytes] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.values

    def text(self, keyword: str) -> str:
        """Return a string on one line, stripped; empty where there is none."""
        raw = self.values.get(keyword, b"")
        if keyword == "SeriesDescription":
            name = self.values.get("SpecificCharacterSet", b"").decode("latin-1").strip(" \0")
            return printable(decoded(raw, name).strip(" \0"))
        return printable(raw.decode("latin-1").strip(" \0"))

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the values of a string of several."""
        text = self.text(keyword)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def numbers(self, keyword: str) -> tuple[float, ...] | None:
        """Return decimal strings or binary numbers as floats; ``None`` where there are none.

        Raises:
            ValueError: they are no numbers.
        """
        raw = self.values.get(keyword)
        if not raw:
            return None
        kind = _KINDS[keyword]
        if kind == "decimal":
            stripped = raw.strip(b" \0")
            try:
                if _GROUPED in stripped:
                    raise ValueError
                return tuple(map(float, stripped.split(b"\\"))) if stripped else None
            except ValueError:
                shown = printable(stripped[:60].decode("latin-1"))
                comma = ", with a decimal point" if b"," in stripped else ""
                raise IrregularError(
                    f"{keyword} must be decimal numbers{comma} (PS3.5 6.2, DS and IS); it is "
                    f"{shown!r}"
                ) from None
        letter, size = {"short": ("H", 2), "single": ("f", 4), "double": ("d", 8)}[kind]
        count = len(raw) // size
        order = ">" if self.encoding == BIG_ENDIAN else "<"
        return struct.unpack_from(f"{order}{count}{letter}", raw) or None

    def hint(self, keyword: str) -> tuple[float, ...] | None:
        """Return :meth:`numbers` of an element that may be missing: ``None`` if unreadable."""
        try:
            found = self.numbers(keyword)
        except ValueError:
            return None
        return found if found is not None and all(map(math.isfinite, found)) else None

    def number(self, keyword: str, default: float) -> float:
        """Return the first number, or ``default`` where there is none."""
        found = self.numbers(keyword)
        return default if found is None else found[0]

    def exactly(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return ``count`` numbers, or ``None`` where there are none.

        Raises:
            ValueError: they are no numbers, or more or fewer.
        """
        found = self.numbers(keyword)
        if found is not None and len(found) != count:
            shown = "\\".join(f"{number:g}" for number in found[:6])
            raise IrregularError(
                f"{keyword} must have {count} value{'s' * (count > 1)}; it is '{shown}'"
            )
        return found

    def count(self, keyword: str, default: int) -> int:
        """Return the first number as an integer of 64 bits, or ``default``.

        Raises:
            ValueError: it is not whole or far too big.
        """
        found = self.number(keyword, default)
        if not abs(found) < 2**53 or found != int(found):
            raise IrregularError(f"{keyword} must be a whole number; it is {found:g}")
        return int(found)


_KINDS = dict(WANTED.values())


def read_elements(file: BinaryIO) -> Elements | None:
    """Read the wanted elements of a file, up to its pixels.

    Returns:
        The elements, or ``None`` when the file is no DICOM.

    Raises:
        ValueError, struct.error, zlib.error: the header is damaged.
        OSError: the file cannot be read.
    """
    start = file.read(140)
    begin = start_of_meta(start)
    if begin is not None:
        syntax, media_class, position = _meta_information(file, begin)
    elif _starts_like_a_dataset(start):
        # Part 10 files have a preamble; old ones begin with the data set itself.
        syntax, media_class, position = IMPLICIT, "", 0
    else:
        require_no_preface(file)
        return None
    if syntax == DEFLATED:
        source, position = _Source(None, _inflate(file, position)), 0
    else:
        source = _Source(file, b"")
    encoding = _encoding(source, position, syntax)
    if syntax in _ENCODED_AS_THEY_SAY:
        syntax = encoding
    elements = Elements(syntax, encoding, media_class)
    _walk(source, position, elements)
    return elements


def start_of_meta(start: bytes) -> int | None:
    """Return where the file meta information begins, or ``None`` where there is none.

    PS3.10 7.1 puts it after 128 bytes and DICM; some writers leave out the former, or both.
    """
    if start[128:132] == b"DICM":
        return 132
    if start[:4] == b"DICM":
        return 4
    return 0 if start[:2] == b"\x02\x00" and start[4:6] in _SHORT | _LONG else None


def _encoding(source: _Source, position: int, syntax: str) -> str:
    """Return the encoding that the first element is in, whatever the file meta says.

    The groups that begin data sets have small numbers, so that their bytes tell the order; and
    no element of theirs is as long as two capitals would be as a length.
    """
    head = source.take(position, 6)
    said = syntax if syntax in {IMPLICIT, BIG_ENDIAN} else EXPLICIT
    if len(head) < 6 or head[:2] in {b"\0\0", b"\xfe\xff", b"\xff\xfe"}:
        return said
    if head[0] == 0:
        return BIG_ENDIAN
    if head[1] == 0 and head[4:6] in _SHORT | _LONG:
        return EXPLICIT
    return IMPLICIT if head[1] == 0 else said


def inflated(path: Path) -> bytes:
    """Return the data set of a deflated file.

    Raises:
        ValueError, struct.error, zlib.error: the file is damaged.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        begin = start_of_meta(file.read(140))
        return _inflate(file, _meta_information(file, begin or 0)[2])


def _inflate(file: BinaryIO, position: int) -> bytes:
    file.seek(position)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(file.read(), _MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise ValueError(f"it inflates to more than {_MAX_INFLATED} bytes")
    return data


def _starts_like_a_dataset(start: bytes) -> bool:
    """Whether the first element is one of group 0008 that begins data sets."""
    if len(start) < 16 or start[:2] != b"\x08\x00" or start[2] > 0x18 or start[3]:
        return False
    if start[4:6] in {b"UL", b"CS", b"DA", b"TM", b"UI"}:
        return True
    (length,) = struct.unpack_from("<I", start, 4)
    return bool(length <= 64 and length % 2 == 0)


class _Source:
    """Bytes of a file by position, read in chunks; or of a buffer."""

    def __init__(self, file: BinaryIO | None, buffer: bytes) -> None:
        self.file, self.buffer, self.base = file, buffer, 0

    def take(self, position: int, count: int) -> bytes:
        """Return ``count`` bytes at ``position``; fewer at the end of the file."""
        begin = position - self.base
        if begin >= 0 and begin + count <= len(self.buffer):
            return self.buffer[begin : begin + count]
        if self.file is None:
            return self.buffer[begin : begin + count]
        self.file.seek(position)
        self.buffer, self.base = self.file.read(max(count, _CHUNK)), position
        return self.buffer[:count]


def _meta_information(file: BinaryIO, position: int) -> tuple[str, str, int]:
    """Return transfer syntax, storage class and where the data set begins.

    PS3.10 7.1: the file meta information is always explicit little endian.
    """
    source = _Source(file, b"")
    found = {_TRANSFER_SYNTAX: "", _MEDIA_CLASS: ""}
    while True:
        head = source.take(position, 12)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            break
        element, length, size = _explicit(head, "<")
        if length > _MAX_VALUE:
            raise ValueError("an element of the file meta information is too long")
        if element in found:
            found[element] = source.take(position + size, length).decode("latin-1").strip(" \0")
        position += size + length
    # Mandatory, yet left out by some: then the first element tells it.
    return found[_TRANSFER_SYNTAX] or IMPLICIT, found[_MEDIA_CLASS], position


def _explicit(head: bytes, order: str) -> tuple[int, int, int]:
    """Return (element, length, bytes before the value) of an element with a VR.

    Raises:
        struct.error: ``head`` is cut off.
    """
    group, number = struct.unpack_from(f"{order}HH", head)
    element = group << 16 | number
    if head[4:6] in _LONG:
        return element, struct.unpack_from(f"{order}I", head, 8)[0], 12
    return element, struct.unpack_from(f"{order}H", head, 6)[0], 8


def _head(source: _Source, position: int, syntax: str) -> tuple[int, int, int, str] | None:
    """Return (element, length, bytes before the value, syntax within); ``None`` at the end."""
    head = source.take(position, 12)
    if len(head) < 8:
        return None
    if syntax == IMPLICIT:
        group, number, length = struct.unpack_from("<HHI", head)
        return group << 16 | number, length, 8, syntax
    order = ">" if syntax == BIG_ENDIAN else "<"
    group, number = struct.unpack_from(f"{order}HH", head)
    if group == 0xFFFE:  # items and delimiters have no VR
        return group << 16 | number, struct.unpack_from(f"{order}I", head, 4)[0], 8, syntax
    # PS3.5 6.2.2: a sequence whose VR was unknown to a writer is implicit little endian inside.
    return *_explicit(head, order), IMPLICIT if head[4:6] == b"UN" else syntax


def _walk(source: _Source, position: int, elements: Elements) -> None:
    """Keep the wanted elements from ``position`` to the pixels or the end of the file."""
    syntax, values = elements.encoding, elements.values
    while found := _head(source, position, syntax):
        element, length, size, within = found
        position += size
        if element in _PIXELS:
            place = None if length == _UNDEFINED else length
            vr = source.take(position - size, 6)[4:6]
            words = syntax == BIG_ENDIAN and vr == b"OW"
            elements.pixels = PixelPlace(_PIXELS[element], position, place, words)
            return
        wanted = WANTED.get(element)
        if wanted is not None and wanted[1] == "present":
            if _holds_items(source, position, length, syntax):
                values[wanted[0]] = b""
        elif wanted is not None and wanted[1] == "signed":
            if syntax != IMPLICIT and source.take(position - size, 6)[4:6] == b"SS":
                value = source.take(position, 2)
                if value and value[0 if syntax == BIG_ENDIAN else -1] & 0x80:
                    values[wanted[0]] = value
        elif wanted is not None and length <= _MAX_VALUE:
            value = source.take(position, length)
            values[wanted[0]] = _digest(value) if wanted[1] == "person" else value
        if length == _UNDEFINED:
            position = _after_sequence(source, position, within, 0)
        else:
            position += length


def _holds_items(source: _Source, position: int, length: int, syntax: str) -> bool:
    """Whether a sequence is not empty: one of undefined length ends with its first element."""
    if length != _UNDEFINED:
        return length > 0
    found = _head(source, position, syntax)
    return found is None or found[0] != _SEQUENCE_END


def _digest(value: bytes) -> bytes:
    """Return what tells people apart and names nobody; empty where the value is.

    Capitals, and blanks and empty components at the end, make no other person.
    """
    bare = value.strip(b" ^\0").upper()
    return hashlib.blake2b(bare, digest_size=16).digest() if bare else b""


def _after_sequence(source: _Source, position: int, syntax: str, depth: int) -> int:
    """Return the position after a sequence or item of undefined length."""
    if depth > _MAX_DEPTH:
        raise ValueError("sequences are nested too deeply")
    while found := _head(source, position, syntax):
        element, length, size, within = found
        position += size
        if element in {_SEQUENCE_END, _ITEM_END}:
            return position
        if element == _ITEM and length == _UNDEFINED and syntax != BIG_ENDIAN:
            # Some writers put items of another encoding into a sequence of theirs.
            within = _item_encoding(source, position, syntax)
        if length == _UNDEFINED:
            position = _after_sequence(source, position, within, depth + 1)
        else:
            position += length
    raise ValueError("a sequence does not end")


def _item_encoding(source: _Source, position: int, syntax: str) -> str:
    head = source.take(position, 6)
    if len(head) < 6 or head[:2] == b"\xfe\xff":
        return syntax
    return EXPLICIT if head[4:6] in _SHORT | _LONG else IMPLICIT
