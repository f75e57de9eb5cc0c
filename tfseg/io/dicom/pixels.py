"""Pixels of a volume: decoded in parallel, unused bits removed, rescaled, stacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import DataError
from tfseg.io.dicom.codestream import JPEG_LS, checked
from tfseg.io.dicom.damage import damage, lenient, reason
from tfseg.io.dicom.elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, inflated
from tfseg.io.dicom.frames import Frame, Header
from tfseg.io.dicom.lut import LUT_DTYPE, ModalityLut
from tfseg.quiet import stderr_held

_FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
_NATIVE = frozenset((IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED))
# In what codecs write where the data is not what it should be: libjpeg, OpenJPEG.
_COMPLAINTS = ("Corrupt JPEG", "Premature end", "premature end", "inconsistent", "Failed to")
# How pydicom 3.0 puts it that GDCM returned nothing.
_GDCM_FAILS = "'NoneType' object has no attribute 'encode'"

_LARGEST = 1e25  # times 32 bits: still a float32

_Plane = NDArray[Any]
_Numbered = list[tuple[int, Frame]]


def decode(frames: tuple[Frame, ...], what: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the rescaled voxels (z, y, x) of slices in the given order, and what was cut.

    Stored values keep their type where no slope or intercept changes them; where both are
    whole numbers the smallest of int16, uint16 and int32 that holds them is taken; otherwise
    float32 (PET has another slope in every slice). Uncompressed pixels are read straight into
    the volume and rescaled in it.

    Raises:
        DataError: a slice cannot be decoded, or has another size or type than its header says.
    """
    first = frames[0].header
    for frame in frames:
        _check_stored(frame, first, what)
    tables = first.has_lut  # and then all have, each its own
    scales = [(1.0, 0.0) if tables else (frame.slope, frame.intercept) for frame in frames]
    whole = all(slope.is_integer() and intercept.is_integer() for slope, intercept in scales)
    stored = LUT_DTYPE if tables else stored_dtype(first)
    direct = stored.kind == "f" or not whole
    kept = np.dtype(np.float32) if direct else stored
    volume = np.empty((len(frames), frames[0].rows, frames[0].columns), kept)
    ends = np.empty((len(frames), 2))
    cut: set[int] = set()  # slices whose words hold more than their BitsStored

    def fill(slices: _Numbered) -> None:
        lut = ModalityLut.of(slices[0][1].header, what) if tables else None
        for number, plane in _stored_planes(slices, volume, what, cut):
            if direct:
                slope, intercept = scales[number]
                volume[number] = plane * np.float64(slope) + np.float64(intercept)
                continue
            if lut:
                plane = lut(plane)
            if not np.may_share_memory(plane, volume):  # else it was read into its place
                volume[number] = plane
            ends[number] = plane.min(), plane.max()

    # Slices of one file together: a multi-frame file or a mosaic is gone through once.
    numbered = enumerate(frames)
    files = [list(group) for _, group in groupby(numbered, lambda item: id(item[1].header))]
    native = all(frame.header.syntax in _NATIVE for frame in frames)
    # Decoders of compressed pixels hold the interpreter's lock, and that of JPEG 2000 has threads
    # of its own: more than one at a time would only contend for it.
    workers = min(8, os.cpu_count() or 1) if native else 1
    # pydicom, which takes a while to import, is not needed for uncompressed pixels.
    with nullcontext() if native else lenient(), ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(fill, files):
            pass
    said: tuple[str, ...] = ()
    if cut:
        name = frames[min(cut)].name
        said = (
            f"pixels of {len(cut)} slices ({name} first) hold more than BitsStored "
            f"({first.stored}) says: an overlay, values beyond it, or signed values whose sign is "
            "not extended. The bits beyond it are left out",
        )
    return volume if direct else _rescaled(volume, scales, ends), said


def stored_dtype(header: Header) -> np.dtype[Any]:
    """Return the type of stored values, native byte order."""
    if header.pixels is not None and header.pixels.keyword in _FLOATS:
        return np.dtype(_FLOATS[header.pixels.keyword])
    return np.dtype(f"{'i' if header.signed else 'u'}{header.allocated // 8}")


def _check_stored(frame: Frame, first: Header, what: str) -> None:
    header = frame.header
    place = header.pixels
    if place is None or (place.keyword == "PixelData" and header.allocated not in {8, 16, 32}):
        raise DataError(
            f"{what}: pixels must have 8, 16 or 32 bits; those of {header.name} have "
            f"{header.allocated}."
        )
    if header is not first and (
        stored_dtype(header) != stored_dtype(first) or header.has_lut != first.has_lut
    ):
        raise DataError(
            f"{what}: slices must be stored alike; {header.name} has {stored_dtype(header)} "
            f"pixels, {first.name} {stored_dtype(first)}."
        )
    if not (0 < abs(frame.slope) <= _LARGEST and abs(frame.intercept) <= _LARGEST):
        raise DataError(
            f"{what}: RescaleSlope and RescaleIntercept must be numbers of at most {_LARGEST:g}, "
            "and the slope not 0; "
            f"{frame.name} has {frame.slope:g} and {frame.intercept:g}."
        )


def _stored_planes(
    slices: _Numbered, volume: _Plane, what: str, cut: set[int]
) -> Iterator[tuple[int, _Plane]]:
    """Yield (number in the volume, stored values (y, x)) of slices of one file.

    Numbers of slices whose words hold more than the stored bits are added to ``cut``.
    """
    header = slices[0][1].header
    wanted: dict[int, _Numbered] = {}
    for item in slices:
        wanted.setdefault(item[1].index, []).append(item)
    try:
        if header.syntax in _NATIVE:
            pictures = _native(slices, volume)
        else:
            pictures = _encoded(header, set(wanted))
        for index, picture in pictures:
            if _holds_more(picture, header):
                cut.update(number for number, _ in wanted[index])
            cleaned = _cleaned(picture, header, invert=slices[0][1].inverted)
            for number, frame in wanted[index]:
                if frame.box is None:
                    yield number, cleaned
                else:
                    row, column, rows, columns = frame.box
                    yield number, cleaned[row : row + rows, column : column + columns]
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
    except damage() as error:
        raise DataError(
            f"{what}: the pixels of {header.name} cannot be decoded ({reason(error)})."
        ) from error


def _native(slices: _Numbered, volume: _Plane) -> Iterator[tuple[int, _Plane]]:
    """Yield (frame index, values) of uncompressed frames, read into the volume if they fit."""
    header, place = slices[0][1].header, slices[0][1].header.pixels
    if place is None or place.length is None:
        raise ValueError("uncompressed pixel data must have a length")
    needed = header.frame_bytes * header.frames
    if place.length < needed:
        raise ValueError(f"{needed} bytes are needed, the pixel data has {place.length}")
    dtype = stored_dtype(header)
    data = inflated(header.path) if header.syntax == DEFLATED else None
    done = set()
    with header.path.open("rb", buffering=0) as file:
        for number, frame in slices:
            if frame.index in done:
                continue
            done.add(frame.index)
            fits = frame.box is None and volume.dtype == dtype
            picture = volume[number] if fits else np.empty((header.rows, header.columns), dtype)
            start = place.offset + frame.index * header.frame_bytes
            view = picture.view(np.uint8).reshape(-1).data
            if place.in_words and header.allocated == 8:
                picture[...] = _of_words(file, place.offset, start, picture.shape)
                yield frame.index, picture
                continue
            if data is not None:
                part = data[start : start + len(view)]
                got = len(part)
                view[:got] = part
            else:
                file.seek(start)
                got = _read_fully(file, view)
            if got < len(view):
                raise ValueError(f"{len(view)} bytes are needed, the file has {got}")
            if header.syntax == BIG_ENDIAN:
                picture.byteswap(inplace=True)
            yield frame.index, picture


def _of_words(file: Any, offset: int, start: int, shape: tuple[int, ...]) -> _Plane:
    """Return bytes that are stored in words of 16 bits in big endian (PS3.5 8.1.1, OW).

    The words are counted from the first byte of the pixel data, at ``offset``.
    """
    count = int(np.prod(shape))
    skipped = (start - offset) % 2
    words = np.empty((skipped + count + 1) // 2, ">u2")
    file.seek(start - skipped)
    got = _read_fully(file, words.view(np.uint8).data)
    if got < words.nbytes:
        raise ValueError(f"{words.nbytes} bytes are needed, the file has {got}")
    return words.astype("<u2").view(np.uint8)[skipped : skipped + count].reshape(shape)


def _read_fully(file: Any, view: memoryview) -> int:
    got = 0
    while got < len(view):
        count = file.readinto(view[got:])
        if not count:
            break
        got += count
    return got


def _encoded(header: Header, wanted: set[int]) -> Iterator[tuple[int, _Plane]]:
    """Yield (frame index, values) of compressed frames, in the order of the file."""
    from pydicom.encaps import encapsulate, generate_frames
    from pydicom.pixels import get_decoder

    if header.pixels is None:
        raise ValueError("there is no pixel data")
    if header.pixels.length is not None:
        raise ValueError(
            f"transfer syntax {header.syntax} has its pixels in encapsulated fragments (PS3.5 "
            "A.4), and these are not: the TransferSyntaxUID is wrong"
        )
    decoder = get_decoder(header.syntax)
    with header.path.open("rb") as file:
        file.seek(header.pixels.offset)
        data = file.read()
    found = 0
    for index, frame in enumerate(generate_frames(data, number_of_frames=header.frames)):
        if index not in wanted:
            continue
        found += 1
        plane = _decoded(decoder, encapsulate([checked(frame, header)]), header)
        yield index, plane.astype(stored_dtype(header), copy=False)
    if found < len(wanted):
        raise ValueError(f"{header.frames} frames are needed, the file has {found} of them")


def _decoded(decoder: Any, stream: bytes, header: Header) -> _Plane:
    """Decode one frame.

    Raises:
        ValueError: no codec can, or one has decoded what it could and complains.
    """
    # The codecs write on stderr, and some go on after an error with what they have.
    with stderr_held(show_on_error=False) as said:
        try:
            plane, _ = decoder.as_array(
                stream,
                raw=True,
                index=0,
                rows=header.rows,
                columns=header.columns,
                samples_per_pixel=1,
                photometric_interpretation="MONOCHROME2",
                bits_allocated=header.allocated,
                bits_stored=header.stored,
                pixel_representation=int(header.signed),
                number_of_frames=1,
                pixel_keyword="PixelData",
                # CharLS without GDCM's copies around it; for the others pydicom's choice is good.
                decoding_plugin="pyjpegls" if header.syntax in JPEG_LS else "",
            )
        except RuntimeError as error:
            raise ValueError(str(error).replace(_GDCM_FAILS, "the codec gives up")) from error
        complaint = said()
    if any(word in complaint for word in _COMPLAINTS):
        raise ValueError(f"the decoder says: {complaint}")
    return np.asarray(plane)


def _holds_more(picture: _Plane, header: Header) -> bool:
    """Tell whether words hold other bits than the stored ones and the sign that repeats."""
    below = header.high + 1 - header.stored
    if picture.dtype.kind == "f" or header.stored == header.allocated:
        return False
    if below and np.any(picture & picture.dtype.type((1 << below) - 1)):
        return True
    limit = 1 << header.high  # of a sign bit; of unsigned values twice that
    if not header.signed:
        return int(picture.max()) >= 2 * limit
    return int(picture.max()) >= limit or int(picture.min()) < -limit


def _cleaned(picture: _Plane, header: Header, *, invert: bool) -> _Plane:
    """Remove what else the pixels' words hold, in place; make more brighter.

    PS3.5 8.1.1: the value is BitsStored bits up to HighBit. Overlays and junk may lie in the
    others, and signed values need not be extended over them.
    """
    if picture.dtype.kind == "f":
        return picture
    above, below = header.allocated - 1 - header.high, header.high + 1 - header.stored
    if above or below:
        if above:
            np.left_shift(picture, above, out=picture)
        np.right_shift(picture, above + below, out=picture)  # repeats the sign of signed values
    if invert:
        # Mirror the range of the stored type: 0..2^b-1, or -2^(b-1)..2^(b-1)-1. In two's
        # complement that is the complement of the bits that are stored.
        np.invert(picture, out=picture)
        if not header.signed:
            np.bitwise_and(picture, picture.dtype.type((1 << header.stored) - 1), out=picture)
    return picture


def _rescaled(
    volume: _Plane, scales: list[tuple[float, float]], ends: NDArray[np.float64]
) -> _Plane:
    """Apply whole slopes and intercepts.

    Args:
        volume: stored values; overwritten where the result has their size.
        scales: slope and intercept of each slice.
        ends: least and greatest stored value of each slice.
    """
    if all(scale == (1.0, 0.0) for scale in scales):
        return volume
    reach = ends * np.array(scales)[:, :1] + np.array(scales)[:, 1:]
    names = [
        name
        for name in ("int16", "uint16", "int32")
        if np.iinfo(name).min <= reach.min() and reach.max() <= np.iinfo(name).max
    ]
    dtype = np.dtype(names[0] if names else "float32")
    if dtype.kind != "f" and dtype.itemsize == volume.itemsize:
        result = volume.view(dtype)
    else:
        result = np.empty(volume.shape, dtype)
    for index, (slope, intercept) in enumerate(scales):
        if dtype.kind == "f":
            result[index] = volume[index] * np.float64(slope) + np.float64(intercept)
            continue
        # Arithmetic modulo 2^16 or 2^32: exact, since the results fit, as checked above.
        plane = volume[index].astype(dtype, copy=False)
        if slope != 1:
            plane = np.multiply(plane, _wrapped(slope, dtype))
        np.add(plane, _wrapped(intercept, dtype), out=result[index])
    return result


def _wrapped(number: float, dtype: np.dtype[Any]) -> Any:
    """Return a whole number modulo the range of ``dtype``."""
    bits = 8 * dtype.itemsize
    return np.array(int(number) % (1 << bits), f"u{dtype.itemsize}").astype(dtype)[()]
