"""Our reader of headers against pydicom's, and its bounds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from tfseg.io.dicom.elements import DEFLATED, WANTED, read_elements

PRIVATE = ("Siemens", "GE", "Philips", "Private")


def values(dataset: Dataset, keyword: str, kind: str) -> object:
    found = dataset.get(keyword)
    if found is None or found == "":
        return () if kind == "text" else None
    several = [found] if isinstance(found, str) or not hasattr(found, "__iter__") else list(found)
    if kind == "text":
        text = "\\".join(str(one) for one in several)
        return tuple(part.strip() for part in text.split("\\"))
    return tuple(float(one) for one in several) or None


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # irregular values, which is the point
def test_real_headers_are_read_as_pydicom_reads_them(real_data: Path) -> None:
    compared = 0
    files = sorted(path for path in (real_data / "dicom").rglob("*") if path.is_file())
    for path in (*files[::4], *(real_data / "dicom/pydicom_data").iterdir()):
        with path.open("rb") as file:
            elements = read_elements(file)
        try:
            with path.open("rb") as file:
                dataset = pydicom.dcmread(file)
        except pydicom.errors.InvalidDicomError:
            assert elements is None
            continue
        assert elements is not None
        if not len(dataset):
            continue  # cut off within the pixels: pydicom keeps nothing then
        for keyword, kind in WANTED.values():
            if keyword.startswith(PRIVATE) or keyword == "SpecificCharacterSet":
                continue
            if kind == "present":
                assert bool(dataset.get(keyword)) == (keyword in elements)
                continue
            if kind == "signed":
                negative = keyword in dataset and dataset[keyword].VR == "SS"
                assert (keyword in elements) == (negative and dataset[keyword].value < 0)
                continue
            if kind == "person":
                name = str(dataset.get(keyword) or "").strip(" ^")
                assert bool(elements.values.get(keyword)) == bool(name)
                assert name.encode() != elements.values.get(keyword) or not name
                continue
            expected = values(dataset, keyword, kind)
            ours = elements.texts(keyword) if kind == "text" else elements.numbers(keyword)
            assert ours == expected, (path, keyword)
        assert (elements.pixels is not None) == ("PixelData" in dataset)
        if elements.pixels and elements.pixels.length and elements.syntax != DEFLATED:
            raw = dataset.get_item("PixelData")
            place = (raw.value_tell, raw.length)
            assert (elements.pixels.offset, elements.pixels.length) == place
        compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    ("character_set", "text"),
    [
        ("ISO_IR 100", "Schädel"),
        ("ISO_IR 192", "頭部"),
        ("ISO_IR 144", "голова"),
        ("ISO 2022 IR 100", "Schädel"),
        (None, "plain"),
    ],
)
def test_descriptions_in_their_character_set(character_set: str | None, text: str) -> None:
    dataset = Dataset()
    if character_set:
        dataset.SpecificCharacterSet = character_set
    dataset.Modality, dataset.SeriesDescription = "MR", text
    buffer = io.BytesIO()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    elements = read_elements(buffer)
    assert elements is not None
    assert elements.text("SeriesDescription") == text


def test_texts_are_on_one_line() -> None:
    header = b"\x08\x00\x05\x00CS\x00\x00\x08\x00\x60\x00CS\x08\x00M\nR\x1b[2J "
    elements = read_elements(io.BytesIO(header + bytes(20)))
    assert elements is not None
    assert elements.text("Modality") == "M R [2J"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_after_the_prefix_end_in_a_known_way(tail: bytes) -> None:
    import struct
    import zlib

    for start in (bytes(128) + b"DICM", b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"):
        try:
            read_elements(io.BytesIO(start + tail))
        except (ValueError, struct.error, zlib.error):
            continue


def test_deep_sequences_are_refused() -> None:
    nested = (
        b"\x08\x00\x05\x00CS\x00\x00"
        + b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff"
        + (b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" * 5000)
    )
    with pytest.raises(ValueError, match="nested too deeply"):
        read_elements(io.BytesIO(nested))


def test_a_sequence_without_end_is_refused() -> None:
    endless = b"\x08\x00\x05\x00CS\x00\x00" + b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="does not end"):
        read_elements(io.BytesIO(endless + bytes(np.zeros(3, np.uint8))))
