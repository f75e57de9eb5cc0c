"""DICOM series: order, place and values, and every reason to refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tfseg.errors import DataError
from tfseg.io import dicom, read_volume

ARRAY = np.random.default_rng(0).integers(-1000, 2000, (8, 5, 6)).astype(np.int16)
Write = Callable[..., list[Path]]


def test_slices_are_ordered_by_position_and_placed_by_the_header(write_series: Write) -> None:
    folder = write_series(ARRAY)[0].parent
    volume = read_volume(folder)
    assert np.array_equal(volume.array, ARRAY)
    assert volume.modality == "CT"
    np.testing.assert_allclose(volume.spacing_mm, (4, 0.5, 0.75))  # not SliceThickness
    # Row 2, column 3 of slice 5: x grows with the column, y with the row.
    place = (volume.affine @ [5, 2, 3, 1])[:3]
    np.testing.assert_allclose(place, (10 + 3 * 0.75, 20 + 2 * 0.5, 30 + 5 * 4))


def test_slices_that_run_downwards_end_in_the_same_canonical_volume(write_series: Write) -> None:
    up = read_volume(write_series(ARRAY, folder="up")[0].parent).canonical()[0]
    positions = [(10, 20, 30 + 4 * index) for index in reversed(range(8))]
    down = read_volume(write_series(ARRAY[::-1], positions, folder="down")[0].parent)
    assert np.array_equal(down.canonical()[0].array, up.array)
    assert down.canonical()[0].same_grid(up)


def test_an_oblique_sagittal_series(write_series: Write) -> None:
    row, column = np.array([0, 0.8, -0.6]), np.array([0, -0.6, -0.8])
    normal = np.cross(row, column)
    positions = [tuple(np.array([1, 2, 3]) + 2.5 * index * normal) for index in range(8)]
    folder = write_series(
        ARRAY, positions, ImageOrientationPatient=[*row.tolist(), *column.tolist()]
    )[0].parent
    volume = read_volume(folder)
    for z, y, x in ((0, 0, 0), (7, 4, 5), (3, 1, 2)):
        place = np.array(positions[z]) + 0.75 * x * row + 0.5 * y * column
        np.testing.assert_allclose((volume.affine @ [z, y, x, 1])[:3], place, atol=1e-9)
    assert np.array_equal(volume.array, ARRAY)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, 0, "int16"), (1, -1024, "int16"), (2, 0, "int16"), (100, 0, "int32"), (0.5, 3, "float32")],
)
def test_rescale(write_series: Write, slope: float, intercept: float, dtype: str) -> None:
    folder = write_series(ARRAY, RescaleSlope=slope, RescaleIntercept=intercept)[0].parent
    volume = read_volume(folder)
    assert volume.array.dtype == np.dtype(dtype)
    np.testing.assert_allclose(volume.array, ARRAY * float(slope) + intercept)


def test_each_slice_has_its_own_slope_as_in_pet(write_series: Write) -> None:
    folder = write_series(ARRAY, each=lambda index: {"RescaleSlope": 0.25 + index})[0].parent
    expected = ARRAY * (0.25 + np.arange(8))[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(read_volume(folder).array, expected)


@pytest.mark.parametrize(("slope", "intercept"), [("1e30", 0), (1, "-1e30"), (0, 0)])
def test_rescaling_beyond_float32_is_refused(write_series, slope, intercept) -> None:
    folder = write_series(ARRAY, RescaleSlope=slope, RescaleIntercept=intercept)[0].parent
    with pytest.raises(DataError, match="must be numbers of at most 1e\\+25, and the slope not 0"):
        read_volume(folder)


def test_unsigned_12_bit_values_and_monochrome1(write_series: Write) -> None:
    stored = (ARRAY.astype(np.int32) + 1000).astype(np.uint16)
    kind = {
        "Modality": "MR",
        "BitsStored": 12,
        "HighBit": 11,
        "PhotometricInterpretation": "MONOCHROME1",
    }
    volume = read_volume(write_series(stored, **kind)[0].parent)
    assert np.array_equal(volume.array, 4095 - stored)


def test_signed_monochrome1_mirrors_its_range(write_series: Write) -> None:
    volume = read_volume(
        write_series(ARRAY, Modality="MR", PhotometricInterpretation="MONOCHROME1")[0].parent
    )
    assert np.array_equal(volume.array, -1 - ARRAY)


@pytest.mark.parametrize("syntax", ["RLELossless", "DeflatedExplicitVRLittleEndian"])
def test_compressed_and_deflated(write_series: Write, syntax: str) -> None:
    paths = write_series(ARRAY)
    for path in paths:
        dataset = pydicom.dcmread(path)
        if syntax == "RLELossless":
            dataset.compress(pydicom.uid.RLELossless)
        else:
            dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        dataset.save_as(path)
    assert np.array_equal(read_volume(paths[0].parent).array, ARRAY)


def test_one_file_is_one_slice(write_series: Write) -> None:
    path = write_series(ARRAY)[3]
    volume = read_volume(path)
    assert np.array_equal(volume.array, ARRAY[3:4])
    np.testing.assert_allclose(volume.origin_mm, (10, 20, 42))


def test_a_projection_without_a_place(write_series: Write) -> None:
    path = write_series(
        ARRAY[:1],
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        ImagerPixelSpacing=[0.2, 0.1],
    )[0]
    np.testing.assert_allclose(read_volume(path).spacing_mm[1:], (0.2, 0.1))


def test_monochrome1_with_a_unit_keeps_its_values(write_series: Write) -> None:
    # Hounsfield units are what they are, however they are shown.
    kind = {"PhotometricInterpretation": "MONOCHROME1", "RescaleType": "HU"}
    assert np.array_equal(read_volume(write_series(ARRAY, **kind)[0].parent).array, ARRAY)


def test_several_series_are_named_and_one_can_be_chosen(write_series: Write) -> None:
    folder = write_series(ARRAY, series="1")[0].parent
    write_series(ARRAY + 1, series="2")
    with pytest.raises(DataError, match=r"one volume is needed; there are 2 volumes: CT 1, CT 2\."):
        read_volume(folder)
    assert np.array_equal(dicom.read(folder, series_uid="1.2.3.2").array, ARRAY + 1)
    with pytest.raises(DataError, match=r"no series 9\.9\. The folder holds 2 series"):
        dicom.read(folder, series_uid="9.9")
    assert [series.number for series in dicom.scan_tree(folder).series] == [1, 2]


def test_derived_objects_do_not_count_as_series(write_series: Write) -> None:
    folder = write_series(ARRAY, series="1")[0].parent
    write_series(ARRAY[:1], series="2", Modality="RTSTRUCT")
    assert np.array_equal(read_volume(folder).array, ARRAY)


def test_files_without_a_series_uid_belong_to_their_folder(write_series: Write) -> None:
    folder = write_series(ARRAY, SeriesInstanceUID=None)[0].parent
    assert np.array_equal(read_volume(folder).array, ARRAY)


def test_other_files_are_skipped(write_series: Write) -> None:
    folder = write_series(ARRAY, folder="a/b/c")[0].parent
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "empty").write_bytes(b"")
    tree = dicom.scan_tree(folder.parents[1])
    assert tree.skipped == 2
    assert np.array_equal(read_volume(folder.parents[1]).array, ARRAY)


def test_slices_of_two_sizes(write_series: Write) -> None:
    folder = write_series(ARRAY)[0].parent
    write_series(np.zeros((1, 5, 7), np.int16), [(10, 20, 62)], folder="scan/more")
    with pytest.raises(DataError, match=r"one size; .* 5 x 6 pixels, image 100 5 x 7"):
        read_volume(folder)


def test_slices_stored_in_two_types(write_series: Write) -> None:
    folder = write_series(ARRAY)[0].parent
    write_series(np.zeros((1, 5, 6), np.uint8), [(10, 20, 62)], folder="scan/more")
    with pytest.raises(DataError, match=r"stored alike; .* uint8 pixels, .* int16"):
        read_volume(folder)


def test_truncated_pixels_and_headers(
    write_series: Write, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_series(ARRAY)
    whole = paths[7].read_bytes()
    paths[7].write_bytes(whole[:-20])
    with pytest.raises(DataError, match="the pixels of image 93 cannot be decoded") as caught:
        read_volume(paths[0].parent)
    assert "\n" not in str(caught.value)
    paths[7].write_bytes(whole[:140])  # within the file meta information
    tree = dicom.scan_tree(paths[0].parent)
    assert [len(series.headers) for series in tree.series] == [7]
    assert [str(broken.path) for broken in tree.unreadable] == [paths[7].name]
    # The last slice is gone: what is left is a volume, and the loss is said.
    assert np.array_equal(read_volume(paths[0].parent).array, ARRAY[:7])
    assert f"skipped damaged file {paths[7].name}: the DICOM header is" in caplog.text
    for path in paths:
        path.write_bytes(whole[:140])
    with pytest.raises(DataError, match=r"none of them DICOM \(8 damaged files, the first 1-0"):
        read_volume(paths[0].parent)


def test_folders_without_dicom(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image series is needed; found 0 files, none of them"):
        read_volume(tmp_path)
    with pytest.raises(DataError, match="there is no such file or folder"):
        dicom.scan_tree(tmp_path / "none")
    (tmp_path / "scan.dcm").write_text("text")
    with pytest.raises(DataError, match="no DICOM image: bytes 128 to 131 must be DICM"):
        read_volume(tmp_path / "scan.dcm")


@pytest.mark.parametrize(
    ("signed", "value", "said"),
    [(0, 4095, False), (0, 4096, True), (1, -2048, False), (1, 2047, False), (1, 2048, True)],
)
def test_values_beyond_the_stored_bits_are_said(write_series: Write, signed, value, said) -> None:
    stored = np.zeros(ARRAY.shape, np.int16 if signed else np.uint16)
    stored[3, 1, 2] = value
    bits = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": signed}
    folder = write_series(stored, **bits)[0].parent
    (stack,) = dicom.split(dicom.scan_tree(folder).series[0])
    assert any("more than BitsStored (12)" in one for one in dicom.load(stack).cautions) is said
