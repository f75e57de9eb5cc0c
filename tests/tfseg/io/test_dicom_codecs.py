"""Compressed pixels, encoded by GDCM: read back exactly, and damaged in every way."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, get_frame

from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom.codestream import checked

SYNTAXES = {
    "RLE": gdcm.TransferSyntax.RLELossless,
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
}
SMOOTH = np.add.outer(np.arange(3) * 50, np.add.outer(np.arange(16) * 7, np.arange(20) * 11))
Write = Callable[..., list[Path]]


def compress(paths: list[Path], syntax: str) -> Path:
    for path in paths:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(SYNTAXES[syntax]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    return paths[0].parent


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the compressed stream of a file."""
    dataset = pydicom.dcmread(path)
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([change(stream)])
    dataset.save_as(path)


@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
@pytest.mark.parametrize("kind", ["12 of 16 bits", "signed", "8 bits"])
def test_lossless_syntaxes_are_lossless(write_series: Write, syntax: str, kind: str) -> None:
    array = {
        "12 of 16 bits": SMOOTH.astype(np.uint16),
        "signed": (SMOOTH - 200).astype(np.int16),
        "8 bits": (SMOOTH // 2).astype(np.uint8),
    }[kind]
    bits = {"BitsStored": 12, "HighBit": 11} if kind == "12 of 16 bits" else {}
    folder = compress(write_series(array, **bits), syntax)
    assert np.array_equal(read_volume(folder).array, array)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"])
def test_lossy_jpeg_is_what_pillow_makes_of_it(write_series: Write, syntax: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray((SMOOTH[0] // 2).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    path = write_series(np.zeros((1, 16, 20), np.uint8))[0]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    expected = np.asarray(Image.open(buffer)).astype(int)
    assert np.abs(read_volume(path).array[0] - expected).max() <= 1  # another libjpeg


def with_application_segment(stream: bytes) -> bytes:
    # libjpeg remarks on a JFIF version that it does not know; GDCM makes that the end of all.
    return stream[:2] + b"\xff\xe0\x00\x10JFIF\x00\x09" + bytes(8) + stream[2:]


def with_fill_bytes(stream: bytes) -> bytes:
    return stream[:2] + b"\xff\xff" + stream[2:]


@pytest.mark.parametrize("change", [with_application_segment, with_fill_bytes])
def test_what_a_stream_may_have_before_its_frame(
    write_series: Write, change: Callable[[bytes], bytes]
) -> None:
    array = SMOOTH.astype(np.uint16)[:1]
    path = write_series(array)[0]
    compress([path], "JPEG lossless")
    damage(path, change)
    assert np.array_equal(read_volume(path).array, array)


def another_size(stream: bytes) -> bytes:
    """Say 65,535 columns in the JPEG's frame header, or a width of 2^31 in JPEG 2000's."""
    for marker in (b"\xff\xc3", b"\xff\xf7"):
        if marker in stream[:200]:
            at = stream.index(marker) + 7
            return stream[:at] + b"\xff\xff" + stream[at + 2 :]
    return stream[:8] + b"\x80\0\0\0" + stream[12:]


CHANGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another size": (another_size, "the file says 16 x 20 pixels of 16 bits, the compressed"),
    "no start": (lambda stream: b"\0\0" + stream[2:], "must begin with FF"),
    "two bytes": (lambda stream: stream[:2], "image 100 cannot be decoded"),
    "header only": (lambda stream: stream[:12], "image 100 cannot be decoded"),
}


@pytest.mark.parametrize("syntax", ["JPEG lossless", "JPEG-LS", "JPEG 2000"])
@pytest.mark.parametrize("name", sorted(CHANGES))
def test_damaged_streams_are_refused(write_series: Write, syntax: str, name: str) -> None:
    path = write_series(SMOOTH.astype(np.uint16)[:1])[0]
    compress([path], syntax)
    change, rule = CHANGES[name]
    damage(path, change)
    with pytest.raises(DataError, match=rule) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def test_junk_between_markers_is_refused(write_series: Write) -> None:
    path = write_series(SMOOTH.astype(np.uint16)[:1])[0]
    compress([path], "JPEG lossless")
    damage(path, lambda stream: stream[:2] + b"\x01\x02\x03\x04" + stream[2:])
    with pytest.raises(DataError, match="a marker is expected at byte 2; found 0102"):
        read_volume(path)


def test_a_codec_that_goes_on_after_an_error_is_not_believed(
    write_series: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (1, 64, 64)).astype(np.uint16)
    path = write_series(noise)[0]
    compress([path], "JPEG lossless")
    middle = b"\xaa" * 40  # libjpeg finds its way again behind it, and fills up with gray
    damage(path, lambda stream: stream[:1000] + middle + stream[1040:])
    with pytest.raises(DataError, match="the decoder says: Corrupt JPEG data: "):
        read_volume(path)
    assert capfd.readouterr().err == ""


def test_tiles_are_bounded() -> None:
    size = struct.pack(">HHHH8I", 0xFF4F, 0xFF51, 47, 0, 20, 16, 0, 0, 1, 1, 0, 0)
    stream = size + struct.pack(">HB", 1, 15) + bytes(20)
    header = SimpleNamespace(syntax="1.2.840.10008.1.2.4.90", rows=16, columns=20, allocated=16)
    assert checked(stream, header) == stream  # 21 x 17 tiles
    header.rows, header.columns = 16_000, 20_000
    large = stream[:8] + struct.pack(">2I", 20_000, 16_000) + stream[16:]
    with pytest.raises(ValueError, match="tiles of 1 x 1 are no tiles of 20000 x 16000 pixels"):
        checked(large, header)


def test_an_unknown_transfer_syntax_is_named(write_series: Write) -> None:
    path = write_series(SMOOTH.astype(np.uint16)[:1])[0]
    compress([path], "JPEG-LS")
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.99")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be decoded .*1\.2\.840\.10008\.1\.2\.4\.99"):
        read_volume(path)
