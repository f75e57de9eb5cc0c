"""Whether a Segmentation or structure set is of the image that it is drawn on."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from tfseg.errors import DataError
from tfseg.io import read_volume, write_volume
from tfseg.io.dicom_out.belonging import image_header
from tfseg.io.dicom_out.rtstruct import write_rtstruct
from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
from tfseg.io.dicom_out.seg import write_seg
from tfseg.io.dicom_out.seg_read import read_seg
from tfseg.io.dicom_out.sources import read_source

KINDS = {"seg": (write_seg, read_seg), "rtstruct": (write_rtstruct, read_rtstruct)}
OTHER_SERIES = {"SeriesInstanceUID": "1.2.9.5", "SOPInstanceUID": "1.2.9.6"}
OTHER_FRAME = {"FrameOfReferenceUID": "1.2.9.9"}
OTHER_PATIENT = {"PatientID": "77", "PatientName": "Else^Someone"}
NO_FRAME = {"FrameOfReferenceUID": None}


@pytest.fixture(params=list(KINDS))
def drawn(request, write_scan, tmp_path, about, stamp):
    """An object drawn on one scan; read it onto another that differs in some elements."""
    write, read = KINDS[request.param]
    folder = write_scan(name="own")
    labels = read_volume(folder)
    labels = labels.with_array(np.ones(labels.shape, np.uint8))
    write(labels, read_source(folder), tmp_path / "o.dcm", about, stamp)

    def onto(change=None, **more):
        if change:
            dataset = pydicom.dcmread(tmp_path / "o.dcm")
            change(dataset)
            dataset.save_as(tmp_path / "o.dcm")
        image = write_scan(name="image", **more)
        found, _, said = read(tmp_path / "o.dcm", read_volume(image), image=image)
        assert found.array.any()
        return " | ".join(said)

    return onto


@pytest.mark.parametrize(
    ("image", "remark"),
    [
        ({}, ""),
        (OTHER_SERIES, "was drawn on another series: this image is in the same frame"),
        (OTHER_FRAME, "refers to this image but its FrameOfReferenceUID is another one"),
        (OTHER_PATIENT, "bears another patient's name or number than the image"),
        ({"PatientName": "MÜLLER^ÄNNE^^"}, ""),
        ({"PatientID": ""}, ""),
        (NO_FRAME, ""),
        (NO_FRAME | OTHER_SERIES, "is taken from its place alone"),
    ],
)
def test_what_belongs_is_drawn_and_what_differs_is_said(drawn, image, remark):
    said = drawn(**image)
    assert remark in said
    if not remark:
        assert "frame" not in said.casefold()
        assert "patient" not in said
    assert "1.2.9" not in said  # no identifiers in messages
    assert "77" not in said


@pytest.mark.parametrize(
    ("image", "rule"),
    [
        (OTHER_FRAME | OTHER_SERIES, "must be in the frame of reference of its image"),
        (OTHER_FRAME | OTHER_SERIES | OTHER_PATIENT, "must be in the frame of reference"),
        (NO_FRAME | OTHER_SERIES | OTHER_PATIENT, "must be of the image's patient"),
    ],
)
def test_what_belongs_to_another_image_is_refused(drawn, image, rule):
    with pytest.raises(DataError, match=rule) as caught:
        drawn(**image)
    assert "\n" not in str(caught.value)


def without_frame(dataset):
    dataset.pop("FrameOfReferenceUID", None)
    for item in dataset.get("ReferencedFrameOfReferenceSequence", ()):
        item.FrameOfReferenceUID = ""
    for item in dataset.get("StructureSetROISequence", ()):
        item.ReferencedFrameOfReferenceUID = ""


def without_references(dataset):
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        dataset.pop(keyword, None)
    for item in dataset.get("ReferencedFrameOfReferenceSequence", ()):
        item.pop("RTReferencedStudySequence", None)


def test_an_object_without_a_frame_of_reference(drawn):
    assert "FrameOfReferenceUID" not in drawn(without_frame)


def test_an_object_without_a_frame_or_references(drawn):
    said = drawn(lambda dataset: (without_frame(dataset), without_references(dataset)))
    assert "is taken from its place alone" in said


def test_an_object_of_another_frame_without_references(drawn):
    with pytest.raises(DataError, match="must be in the frame of reference"):
        drawn(without_references, **OTHER_FRAME)


def test_structures_of_several_frames(write_scan, tmp_path, about, stamp):
    folder = write_scan()
    labels = read_volume(folder)
    array = np.ones(labels.shape, np.uint8)
    array[:, 4:] = 2
    path = tmp_path / "o.dcm"
    write_rtstruct(labels.with_array(array), read_source(folder), path, about, stamp)
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.9.9"
    dataset.save_as(path)
    with pytest.raises(DataError, match="a structure left_lung must be in the frame"):
        read_rtstruct(path, labels, image=folder)
    found, _, _ = read_rtstruct(path, labels, names=["liver"], image=folder)
    np.testing.assert_array_equal(found.array, array == 1)


def test_other_formats_say_nothing_to_compare(write_scan, tmp_path, about, stamp):
    folder = write_scan()
    labels = read_volume(folder)
    labels = labels.with_array(np.ones(labels.shape, np.uint8))
    write_seg(labels, read_source(folder), tmp_path / "o.dcm", about, stamp)
    write_volume(labels, tmp_path / "image.nii.gz")
    image = tmp_path / "image.nii.gz"
    assert read_seg(tmp_path / "o.dcm", read_volume(image), image=image)[2] == ()


def test_folders_that_are_no_volume_of_dicom_say_nothing_either(write_scan, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"x")
    assert image_header(tmp_path / "pictures") is None
    assert image_header(tmp_path / "absent.dcm") is None
    assert image_header(write_scan()).series == {"1.2.3.1.5"}
