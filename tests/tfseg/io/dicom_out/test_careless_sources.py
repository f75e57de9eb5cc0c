"""Results of scans whose headers break the standard: written, with what is no value left empty."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from tests.tfseg.io.conftest import misspell
from tfseg.io import read_volume
from tfseg.io.dicom_out.rtstruct import write_rtstruct
from tfseg.io.dicom_out.seg import write_seg
from tfseg.io.dicom_out.sources import read_source
from tfseg.io.dicom_out.sr import write_report


@pytest.mark.parametrize(
    ("keyword", "value", "kept"),
    [
        ("StudyDate", "20201340", ""),
        ("StudyDate", "20210229", ""),
        ("StudyDate", "2020.10.11", ""),
        ("StudyDate", "20200229", "20200229"),
        ("PatientBirthDate", "00000000", ""),
        ("PatientBirthDate", "19991232", ""),
        ("StudyTime", "246000", ""),
        ("StudyTime", "10:11:12", ""),
        ("StudyTime", "101160", ""),
        ("PatientSex", "female", ""),
        ("SeriesDate", "20201340", None),
        ("AcquisitionDate", "20201340", None),
        ("ContentTime", "99", None),
        ("PatientAge", "63", None),
        ("SliceThickness", "3,0", None),
        ("SeriesNumber", "five", None),
        ("InstanceNumber", "1.5", None),
        ("AccessionNumber", "A" * 40, "A" * 40),
        ("StudyID", "7" * 40, "7" * 40),
    ],
)
def test_every_result_is_written(write_scan, tmp_path, about, stamp, keyword, value, kept):
    with pydicom.config.disable_value_validation():
        folder = write_scan()
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
            dataset._dict[tag] = pydicom.dataelem.RawDataElement(
                tag, pydicom.datadict.dictionary_VR(tag), len(value), value.encode(), 0, False, True
            )
            dataset.save_as(path)
    scan = read_volume(folder)
    labels = scan.with_array(np.zeros(scan.shape, np.uint8))
    labels.array[:, 1:3, 1:4] = 1
    source = read_source(folder)
    seg = write_seg(labels, source, tmp_path / "seg.dcm", about, stamp)
    write_rtstruct(labels, source, tmp_path / "rtstruct.dcm", about, stamp)
    write_report(labels, source, seg, tmp_path / "sr.dcm", about, stamp)
    for name in ("seg", "rtstruct", "sr"):
        made = pydicom.dcmread(tmp_path / f"{name}.dcm")
        if kept is not None:
            with pydicom.config.disable_value_validation():
                assert str(made.get(keyword)) == kept, name


@pytest.mark.parametrize("name", ["UTF-8", "ISO_IR192", "iso_ir 192"])
def test_a_misspelt_character_set_keeps_the_name(write_scan, tmp_path, about, stamp, name):
    folder = write_scan()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName = "Müller^Änne"
        dataset.save_as(path)
        misspell(path, name)
    scan = read_volume(folder)
    labels = scan.with_array(np.ones(scan.shape, np.uint8))
    source = read_source(folder)
    seg = write_seg(labels, source, tmp_path / "seg.dcm", about, stamp)
    write_rtstruct(labels, source, tmp_path / "rtstruct.dcm", about, stamp)
    write_report(labels, source, seg, tmp_path / "sr.dcm", about, stamp)
    for one in ("seg", "rtstruct", "sr"):
        assert str(pydicom.dcmread(tmp_path / f"{one}.dcm").PatientName) == "Müller^Änne"
