"""Text in the character sets of DICOM (PS3.3 C.12.1.1.2, PS3.5 6.1)."""

from __future__ import annotations

import re

from tfseg.io.dicom.damage import lenient

_ESCAPE = re.compile("\x1b[$()*+./-]{1,2}.")
_ENCODINGS = {
    "ISO_IR 100": "latin-1", "ISO_IR 101": "iso8859-2", "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4", "ISO_IR 144": "iso8859-5", "ISO_IR 127": "iso8859-6",
    "ISO_IR 126": "iso8859-7", "ISO_IR 138": "iso8859-8", "ISO_IR 148": "iso8859-9",
    "ISO_IR 166": "tis-620", "ISO_IR 13": "shift-jis", "ISO_IR 192": "utf-8",
    "GB18030": "gb18030", "GBK": "gbk", "ISO_IR 6": "latin-1", "": "latin-1",
}  # fmt: skip


def printable(text: str) -> str:
    """Return a text on one line and without control characters."""
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def standard_name(name: str) -> str:
    """Return a name of a character set as PS3.3 C.12.1.1.2 spells it, where it is nearly so."""
    name = re.sub(r"[ _-]+", " ", name.upper().strip())
    if name in {"UTF 8", "UTF8"}:
        return "ISO_IR 192"
    if found := re.fullmatch(r"ISO ?2022 ?IR ?(\d+)", name):
        return f"ISO 2022 IR {found[1]}"
    found = re.fullmatch(r"ISO ?IR ?(\d+)", name)
    return f"ISO_IR {found[1]}" if found else name


def decoded(raw: bytes, name: str) -> str:
    """Return text in the character sets that SpecificCharacterSet names (PS3.3 C.12.1.1.2)."""
    name = "\\".join(map(standard_name, name.split("\\")))
    if "\\" not in name and b"\x1b" not in raw:
        encoding = _ENCODINGS.get(name.replace("ISO 2022 IR", "ISO_IR"))
        if encoding is not None:
            return raw.decode(encoding, "replace")
    # Code extensions switch sets by escape sequences (PS3.5 6.1.2.5).
    from pydicom.charset import convert_encodings, decode_bytes

    with lenient():
        text = decode_bytes(raw, convert_encodings(name.split("\\")), {"\\", "\r", "\n"})
    return _ESCAPE.sub("", text)  # some of pydicom's codecs leave them
