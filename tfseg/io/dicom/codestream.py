"""Headers of JPEG, JPEG-LS and JPEG 2000 streams, checked before a codec sees them.

Codecs are native code: a stream that claims another size than its file makes them allocate
what they like, and a remark of libjpeg on the header (rather than an error) ends the whole
process in GDCM. So only streams with a clean header of the declared size are passed on.
Markers: ITU-T T.81 Annex B (JPEG), T.87 Annex C (JPEG-LS), T.800 Annex A (JPEG 2000).
"""

from __future__ import annotations

import struct

from tfseg.io.dicom.frames import Header

_JPEG = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70))
JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (80, 81))
_JPEG_2000 = frozenset(
    f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93, 201, 202, 203)
)
_START, _START_2000, _SIZE_2000, _SCAN = 0xFFD8, 0xFF4F, 0xFF51, 0xFFDA
_COMMENT = 0xFFFE
_MOST_TILES = 65_535  # T.800 A.4.2


def checked(stream: bytes, header: Header) -> bytes:
    """Return the stream of one frame, without application segments and comments.

    Raises:
        ValueError: its header is damaged, or says another size than the file's elements.
        struct.error: it is cut off.
    """
    if header.syntax in _JPEG or header.syntax in JPEG_LS:
        return _jpeg(stream, header, keep_all=header.syntax in JPEG_LS)
    if header.syntax in _JPEG_2000:
        _check_jpeg_2000(stream, header)
    return stream


def _jpeg(stream: bytes, header: Header, *, keep_all: bool) -> bytes:
    if struct.unpack_from(">H", stream)[0] != _START:
        raise ValueError("a JPEG stream must begin with FFD8")
    frames, kept, position = 0, [stream[:2]], 2
    while True:
        marker, length = struct.unpack_from(">HH", stream, position)
        if marker == 0xFFFF:  # a fill byte
            position += 1
            continue
        if marker < 0xFFC0 or 0xFFD0 <= marker <= 0xFFD9 or length < 2:
            raise ValueError(f"a marker is expected at byte {position}; found {marker:04X}")
        if _is_frame(marker):
            frames += 1
            _check_frame(stream, position, header)
        if marker == _SCAN:
            break
        if not (0xFFE0 <= marker <= 0xFFEF or marker == _COMMENT) or keep_all:
            kept.append(stream[position : position + 2 + length])
        position += 2 + length
    if frames != 1:
        raise ValueError(f"a JPEG stream must have one frame header; it has {frames}")
    return b"".join((*kept, stream[position:]))


def _is_frame(marker: int) -> bool:
    """Whether a marker is of a frame header: SOF0 to SOF15 without DHT, JPG, DAC; or SOF55."""
    return marker == 0xFFF7 or (
        0xFFC0 <= marker <= 0xFFCF and marker not in {0xFFC4, 0xFFC8, 0xFFCC}
    )


def _check_frame(stream: bytes, position: int, header: Header) -> None:
    bits, rows, columns, samples = struct.unpack_from(">BHHB", stream, position + 4)
    _check_size(header, rows, columns, samples, bits)


def _check_jpeg_2000(stream: bytes, header: Header) -> None:
    start, marker = struct.unpack_from(">HH", stream)
    if (start, marker) != (_START_2000, _SIZE_2000):
        raise ValueError("a JPEG 2000 stream must begin with FF4F and FF51")
    right, bottom, left, top, wide, high = struct.unpack_from(">6I", stream, 8)
    samples, bits = struct.unpack_from(">HB", stream, 40)
    _check_size(header, bottom - top, right - left, samples, (bits & 0x7F) + 1)
    if not wide or not high or (right // wide + 1) * (bottom // high + 1) > _MOST_TILES:
        raise ValueError(f"tiles of {wide} x {high} are no tiles of {right} x {bottom} pixels")


def _check_size(header: Header, rows: int, columns: int, samples: int, bits: int) -> None:
    if (rows, columns, samples) != (header.rows, header.columns, 1) or bits > header.allocated:
        raise ValueError(
            f"the file says {header.rows} x {header.columns} pixels of {header.allocated} bits, "
            f"the compressed stream {rows} x {columns} x {samples} of {bits} bits"
        )
