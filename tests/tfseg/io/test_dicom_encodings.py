"""DICOM as careless writers leave it: encodings that are not the ones they name, odd numbers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tfseg.errors import DataError
from tfseg.io import dicom
from tfseg.io.dicom.headers import read_header

from .conftest import slice_dataset

Write = Callable[..., list[Path]]
ARRAY = np.random.default_rng(0).integers(0, 2000, (3, 5, 6)).astype(np.uint16)


def read(folder: Path) -> dicom.Loaded:
    (series,) = dicom.scan_tree(folder).series
    (stack,) = dicom.split(series)
    return dicom.load(stack)


def meta(uid: str) -> bytes:
    """File meta information with a transfer syntax alone."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    length = len(element).to_bytes(4, "little")
    return b"\x02\x00\x00\x00UL\x04\x00" + length + element


def body(dataset: Dataset, uid: str) -> bytes:
    """A data set alone, in a transfer syntax."""
    bare = Dataset()
    bare.update(dataset)
    file = io.BytesIO()
    implicit, little = uid == ImplicitVRLittleEndian, uid != ExplicitVRBigEndian
    pydicom.dcmwrite(file, bare, implicit_vr=implicit, little_endian=little)
    return file.getvalue()


def write_bare(folder: Path, actual: str, declared: str, head: bytes) -> None:
    """Write the series in one encoding under the name of another."""
    folder.mkdir()
    for index, plane in enumerate(ARRAY):
        array = plane.astype(">u2") if actual == ExplicitVRBigEndian else plane
        dataset = slice_dataset(array, (0, 0, 4 * index), InstanceNumber=index + 1)
        dataset.PixelData = array.tobytes()
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "X", "region"
        dataset.AnatomicRegionSequence = [item]
        dataset["AnatomicRegionSequence"].is_undefined_length = True
        item.is_undefined_length_sequence_item = True
        content = body(dataset, actual)
        (folder / str(index)).write_bytes(head + meta(declared) + content)


SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


@pytest.mark.parametrize("declared", SYNTAXES)
@pytest.mark.parametrize("actual", SYNTAXES)
@pytest.mark.parametrize("head", [bytes(128) + b"DICM", b"DICM", b""])
def test_what_the_bytes_are_in_counts(
    tmp_path: Path, actual: str, declared: str, head: bytes
) -> None:
    write_bare(tmp_path / "scan", actual, declared, head)
    np.testing.assert_array_equal(read(tmp_path / "scan").volume.array, ARRAY)


@pytest.mark.parametrize("outer", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_items_in_another_encoding_than_their_file(tmp_path: Path, outer: str) -> None:
    """A sequence of undefined length, its item in the other encoding, before the pixels."""
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "123", "liver"
    inner_uid = ({ExplicitVRLittleEndian, ImplicitVRLittleEndian} - {outer}).pop()
    item = body(inner, inner_uid)
    undefined = b"\xff\xff\xff\xff"
    vr = b"SQ\0\0" if outer == ExplicitVRLittleEndian else b""
    ends = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    sequence = b"\x08\x00\x18\x22" + vr + undefined  # AnatomicRegionSequence
    sequence += b"\xfe\xff\x00\xe0" + undefined + item + ends
    (tmp_path / "scan").mkdir()
    for index, plane in enumerate(ARRAY):
        dataset = slice_dataset(plane, (0, 0, 4 * index), InstanceNumber=index + 1)
        late = Dataset()
        for element in [e for e in dataset if e.tag.group > 0x0008]:
            late.add(element)
            del dataset[element.tag]
        content = body(dataset, outer) + sequence + body(late, outer)
        (tmp_path / "scan" / str(index)).write_bytes(bytes(128) + b"DICM" + meta(outer) + content)
    np.testing.assert_array_equal(read(tmp_path / "scan").volume.array, ARRAY)


@pytest.mark.parametrize("vr", ["OW", "OB"])
@pytest.mark.parametrize("shape", [(5, 6), (5, 7)])
@pytest.mark.parametrize("frames", [1, 3])
def test_bytes_in_words_of_big_endian(
    tmp_path: Path, vr: str, shape: tuple[int, int], frames: int
) -> None:
    """OW is a stream of words, whose bytes are exchanged (PS3.5 8.1.1); OB is not."""
    pixels = np.arange(frames * np.prod(shape)).reshape(frames, *shape).astype(np.uint8)
    stream = pixels.tobytes() + b"\0" * (pixels.size % 2)
    if vr == "OW":
        stream = np.frombuffer(stream, "<u2").byteswap().tobytes()
    dataset = slice_dataset(pixels[0], (0, 0, 0), InstanceNumber=1)
    dataset.PixelData, dataset["PixelData"].VR = stream, vr
    if frames > 1:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.2"
        dataset.NumberOfFrames = frames
        shared = Dataset()
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [Dataset()], [Dataset()]
        shared.PixelMeasuresSequence[0].PixelSpacing = [1, 1]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SharedFunctionalGroupsSequence = [shared]
        dataset.PerFrameFunctionalGroupsSequence = groups = [Dataset() for _ in range(frames)]
        for index, group in enumerate(groups):
            group.PlanePositionSequence = [Dataset()]
            group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, index]
    content = body(dataset, ExplicitVRBigEndian)
    (tmp_path / "a").write_bytes(bytes(128) + b"DICM" + meta(ExplicitVRBigEndian) + content)
    np.testing.assert_array_equal(read(tmp_path).volume.array, pixels)


@pytest.mark.parametrize("count", [0, None, ""])
def test_no_number_of_frames_is_one_frame(write_series: Write, count: Any) -> None:
    paths = write_series(ARRAY, NumberOfFrames=count)
    np.testing.assert_array_equal(read(paths[0].parent).volume.array, ARRAY)


def test_no_number_of_frames_beside_the_pixels_of_several(tmp_path: Path) -> None:
    dataset = slice_dataset(ARRAY[0], (0, 0, 0), NumberOfFrames=0)
    dataset.PixelData = ARRAY.tobytes()
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    with pytest.raises(DataError, match="NumberOfFrames is 0, and the pixel data is that of sev"):
        read_header(tmp_path / "a")


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("PixelSpacing", "0,8\\0,7"),
        ("ImagePositionPatient", "1,5\\0\\0"),
        ("RescaleIntercept", "-1024,0"),
        ("RescaleSlope", "one"),
        ("ImageOrientationPatient", "1\\0\\0\\0\\1\\O"),
        ("RescaleSlope", "1_0"),
    ],
)
def test_numbers_that_are_none_are_named(tmp_path: Path, keyword: str, text: str) -> None:
    dataset = slice_dataset(ARRAY[0], (0, 0, 0))
    tag = pydicom.datadict.tag_for_keyword(keyword)
    dataset._dict[pydicom.tag.Tag(tag)] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), "DS", len(text), text.encode(), 0, False, True
    )
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    with pytest.raises(DataError) as error:
        read_header(tmp_path / "a")
    message = str(error.value)
    assert f"{keyword} must be decimal numbers" in message
    assert repr(text) in message
    assert ("with a decimal point" in message) is ("," in text)
    assert "Copy" not in message


@pytest.mark.parametrize(
    ("odd", "rule"),
    [
        ({"RescaleSlope": None, "RescaleIntercept": None}, "image 99 has neither, most have both"),
        ({"RescaleSlope": None}, "image 99 has the intercept alone, most have both"),
        ({"RescaleType": "US"}, "image 99 is in US, most are in HU"),
        ({"RescaleType": "OD"}, "image 99 is in OD, most are in HU"),
    ],
)
def test_one_slice_in_another_unit(write_series: Write, odd: dict[str, Any], rule: str) -> None:
    paths = write_series(
        ARRAY, RescaleIntercept=-1024, each=lambda index: odd if index == 1 else {}
    )
    with pytest.raises(DataError, match=rule):
        read(paths[0].parent)


@pytest.mark.parametrize(
    ("elements", "said", "unit"),
    [
        ({"RescaleSlope": None, "RescaleIntercept": None}, "the stored values are taken", ""),
        ({"RescaleSlope": None}, "RescaleSlope is missing: 1 is taken", "HU"),
        ({"RescaleIntercept": None}, "RescaleIntercept is missing: 0 is taken", "HU"),
        ({"RescaleType": "US"}, "", ""),
    ],
)
def test_a_rescale_that_is_missing_everywhere_is_said(
    write_series: Write, elements: dict[str, Any], said: str, unit: str
) -> None:
    loaded = read(write_series(ARRAY, **elements)[0].parent)
    np.testing.assert_array_equal(loaded.volume.array, ARRAY)
    assert loaded.unit == unit
    assert said in " ".join(loaded.cautions)


@pytest.mark.parametrize(
    ("sets", "text", "encoding"),
    [
        (["", "ISO 2022 IR 87"], "腹部 CT", "iso2022_jp"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾌｸﾌﾞ 腹部", None),
        (["", "ISO 2022 IR 149"], "복부", None),
        ("ISO_IR 192", "腹部 é", "utf-8"),
        ("GB18030", "腹部", "gb18030"),
        ("ISO_IR 100", "Übersicht", "latin-1"),
        ("ISO_IR 144", "живот", "iso8859-5"),
        ("ISO_IR 166", "ท้อง", "tis-620"),
    ],
)
def test_descriptions_in_all_alphabets(
    write_series: Write, sets: Any, text: str, encoding: str | None
) -> None:
    paths = write_series(ARRAY[:1], SpecificCharacterSet=sets, SeriesDescription=text)
    (series,) = dicom.scan_tree(paths[0]).series
    assert series.description == text
    if encoding == "iso2022_jp":  # what pydicom wrote is what Python's own codec writes
        assert text.encode(encoding) in paths[0].read_bytes()


def test_chinese_by_its_escape_sequence(write_series: Write) -> None:
    """pydicom writes GB 2312 without the sequence that PS3.3 C.12.1.1.2 asks for."""
    raw = b"\x1b$)A" + "腹部".encode("gb2312")
    filler = b"x" * len(raw)
    paths = write_series(
        ARRAY[:1], SpecificCharacterSet=["", "ISO 2022 IR 58"], SeriesDescription=filler.decode()
    )
    paths[0].write_bytes(paths[0].read_bytes().replace(filler, raw))
    (series,) = dicom.scan_tree(paths[0]).series
    assert series.description == "腹部"


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_quantities_are_not_mirrored_and_brightness_is(write_series: Write, modality: str) -> None:
    """CT is in HU where nothing else is said (PS3.3 C.8.2.1.1.2), also shown as MONOCHROME1."""
    folder = write_series(
        ARRAY, Modality=modality, RescaleIntercept=-1024, PhotometricInterpretation="MONOCHROME1"
    )[0].parent
    expected = ARRAY if modality == "CT" else 65535 - ARRAY
    np.testing.assert_array_equal(read(folder).volume.array, expected.astype(np.int32) - 1024)


def test_one_slice_the_other_way_round(write_series: Write) -> None:
    folder = write_series(
        ARRAY,
        Modality="MR",
        each=lambda index: {"PhotometricInterpretation": f"MONOCHROME{1 + (index != 1)}"},
    )[0].parent
    with pytest.raises(DataError, match="image 99 has MONOCHROME1, most have MONOCHROME2"):
        read(folder)


def test_bytes_behind_the_pixels(write_series: Write) -> None:
    paths = write_series(ARRAY, each=lambda index: {"PixelData": ARRAY[index].tobytes() + bytes(6)})
    loaded = read(paths[0].parent)
    np.testing.assert_array_equal(loaded.volume.array, ARRAY)
    assert "6 bytes follow the pixels: left out" in loaded.cautions
    dataset = slice_dataset(ARRAY[0], (0, 0, 0), PixelData=ARRAY[:2].tobytes())
    dataset.save_as(paths[0], enforce_file_format=True)
    with pytest.raises(DataError, match=r"the pixel data has 120 bytes, and Rows, .* 60 less"):
        read_header(paths[0])


@pytest.mark.parametrize(
    ("keyword", "value", "rule"),
    [
        ("PixelSpacing", [0.8], "PixelSpacing must have 2 values; it is '0.8'"),
        ("ImagePositionPatient", [1, 2], r"ImagePositionPatient must have 3 values; it is '1.2'"),
        ("RescaleSlope", [1, 2], r"RescaleSlope must have 1 value; it is '1.2'"),
        ("PixelRepresentation", 2, r"must be 0 \(unsigned\) or 1 \(signed\); it is 2"),
    ],
)
def test_values_that_are_too_many_or_none_of_those(
    tmp_path: Path, keyword: str, value: Any, rule: str
) -> None:
    dataset = slice_dataset(ARRAY[0], (0, 0, 0), **{keyword: value})
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    with pytest.raises(DataError, match=rule):
        read_header(tmp_path / "a")


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "PALETTE COLOR"])
def test_one_sample_of_a_colour_is_no_gray(write_series: Write, photometric: str) -> None:
    folder = write_series(ARRAY, PhotometricInterpretation=photometric)[0].parent
    with pytest.raises(DataError, match="pixels must be gray"):
        read(folder)


def test_a_mirrored_slice_of_other_bits(write_series: Write) -> None:
    folder = write_series(
        ARRAY,
        Modality="MR",
        PhotometricInterpretation="MONOCHROME1",
        each=lambda index: {"BitsStored": 12 - (index == 1), "HighBit": 11 - (index == 1)},
    )[0].parent
    with pytest.raises(DataError, match="image 99 has 11, most have 12"):
        read(folder)


@pytest.mark.parametrize("keyword", ["SmallestImagePixelValue", "PixelPaddingValue"])
@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("SS", 5), ("US", 63536)])
def test_signs_that_contradict_each_other(
    tmp_path: Path, keyword: str, vr: str, value: int
) -> None:
    dataset = slice_dataset(ARRAY[0], (0, 0, 0))
    dataset.add_new(keyword, vr, value)
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    said = dicom.load(dicom.split(dicom.scan_tree(tmp_path).series[0])[0]).cautions
    assert any(keyword in one for one in said) is (value < 0)


@pytest.mark.parametrize(("kind", "unit"), [("OD", "OD"), ("HU", "HU"), ("US", ""), (None, "HU")])
def test_a_modality_lut_says_the_unit(write_series: Write, kind: str | None, unit: str) -> None:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.add_new("LUTData", "US", [9, 8, 7, 6])
    if kind:
        table.ModalityLUTType = kind
    folder = write_series(ARRAY % 4, ModalityLUTSequence=[table])[0].parent
    loaded = read(folder)
    np.testing.assert_array_equal(loaded.volume.array, 9 - ARRAY % 4)
    assert loaded.unit == unit
    assert "the LUT is taken" in " ".join(loaded.cautions)  # beside a rescale


@pytest.mark.parametrize("undefined", [False, True])
def test_an_empty_modality_lut_is_none(write_series: Write, undefined: bool) -> None:
    empty = pydicom.DataElement("ModalityLUTSequence", "SQ", pydicom.Sequence())
    empty.is_undefined_length = undefined
    paths = write_series(ARRAY, RescaleIntercept=-1024)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.add(empty)
        dataset.save_as(path)
    np.testing.assert_array_equal(read(paths[0].parent).volume.array, ARRAY.astype(np.int32) - 1024)


@pytest.mark.parametrize("name", ["UTF-8", "utf8", "ISO_IR192", "iso_ir 192", "ISO-IR 192"])
def test_names_of_character_sets_that_are_nearly_right(name: str) -> None:
    from tfseg.io.dicom.charsets import decoded

    assert decoded("Schädel".encode(), name) == "Schädel"


def test_bytes_before_the_preamble_are_named(write_series: Write) -> None:
    path = write_series(ARRAY[:1])[0]
    path.write_bytes(b"x" * 10 + path.read_bytes())
    (broken,) = dicom.scan_tree(path).unreadable
    assert "it begins at byte 138" in broken.reason
