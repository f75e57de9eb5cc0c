"""The series that results refer to: the grid of the volume read, headers in its order."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest

from tfseg.errors import DataError, TfsegError
from tfseg.io import read_volume
from tfseg.io.dicom_out.sources import read_source


def test_headers_are_in_the_order_of_slices(write_scan):
    folder = write_scan(step_mm=-4.0)
    source, scan = read_source(folder), read_volume(folder)
    assert source.grid_shape == scan.shape
    np.testing.assert_array_equal(source.grid_affine, scan.affine)
    assert [one.header.InstanceNumber for one in source.slices] == [5, 4, 3, 2, 1]
    assert len(source.headers) == 5
    assert all("PixelData" not in header for header in source.headers)
    assert source.placed
    assert source.even
    assert source.corrected == ()


def test_a_zip_is_a_source(write_scan, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "scan"), "zip", write_scan())
    assert read_source(archive).grid_shape == (5, 7, 9)


def test_a_result_elsewhere_is_refused(write_scan):
    folder = write_scan()
    scan = read_volume(folder)
    moved = type(scan)(scan.array, scan.affine @ np.diag([1, 1, 1.2, 1]))
    with pytest.raises(DataError, match="must be on the grid of its scan"):
        next(read_source(folder).on_slices(moved))


def test_no_dicom_is_refused(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"not DICOM")
    with pytest.raises(DataError, match=r"x\.dcm: no DICOM image"):
        read_source(tmp_path / "x.dcm")


def test_images_that_share_a_uid_cannot_be_referred_to(write_scan):
    with pytest.raises(DataError, match=r"5 images have 1\. Write the result as NIfTI"):
        read_source(write_scan(SOPInstanceUID="1.2.3"))


def test_real_sources_have_the_grid_of_their_volumes(real_data):
    logging.disable(logging.WARNING)
    try:
        seen = 0
        for place in (
            "dcm_qa_ct", "rt_utils_mock", "udacity_TestVolumes/Study1/13_HCropVolume",
            "pydicom_data/eCT_Supplemental.dcm", "highdicom_test_files/dx_image.dcm",
            "dcm_qa_ts/In/1.dcm",
        ):  # fmt: skip
            path = real_data / "dicom" / place
            try:
                scan = read_volume(path)
            except TfsegError:
                continue
            source = read_source(path)
            assert source.grid_shape == scan.shape
            np.testing.assert_array_equal(source.grid_affine, scan.affine)
            seen += 1
    finally:
        logging.disable(logging.NOTSET)
    assert seen >= 5
