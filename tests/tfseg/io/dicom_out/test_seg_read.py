"""DICOM SEG as label input: what others wrote, other grids, names, and damaged files."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom_out.nearest import nearest
from tfseg.io.dicom_out.seg import write_seg
from tfseg.io.dicom_out.seg_read import read_seg
from tfseg.io.dicom_out.sources import read_source
from tfseg.volume import Volume


@pytest.fixture
def seg(write_scan, tmp_path, about, stamp):
    """A SEG of a 5 x 7 x 9 scan: its path and its label map."""
    folder = write_scan()
    scan = read_volume(folder)
    labels = scan.with_array(np.random.default_rng(1).integers(0, 4, scan.shape).astype(np.uint8))
    write_seg(labels, read_source(folder), tmp_path / "seg.dcm", about, stamp)
    return tmp_path / "seg.dcm", labels


def changed(path, change):
    """Rewrite a SEG after ``change`` has had it."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")  # what is written here is wrong on purpose
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)
    return path


def test_names_choose_segments_and_give_the_values(seg):
    path, labels = seg
    back, names, _ = read_seg(path, labels, names=[" MY own thing", "liver", "not there"])
    assert names == {1: " MY own thing", 2: "liver"}
    np.testing.assert_array_equal(back.array, np.array([0, 2, 0, 1])[labels.array])


def test_a_folder_or_a_zip_may_hold_the_file(seg, tmp_path):
    import shutil

    path, labels = seg
    folder = tmp_path / "case" / "deep"
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "x")
    np.testing.assert_array_equal(read_seg(tmp_path / "case", labels)[0].array, labels.array)
    archive = shutil.make_archive(str(tmp_path / "case"), "zip", tmp_path / "case")
    np.testing.assert_array_equal(read_seg(archive, labels)[0].array, labels.array)


def test_another_grid_takes_the_nearest_voxel(seg):
    path, labels = seg
    affine = labels.affine @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] += labels.affine[:3, :3] @ [-0.25, -0.25, -0.25]
    fine = Volume(np.zeros([2 * size for size in labels.shape], np.uint8), affine)
    expected = labels.array.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(read_seg(path, fine)[0].array, expected)


def test_nearest_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    array = rng.integers(0, 9, (4, 5, 6)).astype(np.uint8)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine, target = np.eye(4), np.eye(4)
    affine[:3, :3] = turn * [2.0, 0.7, 0.9]
    affine[:3, 3] = [3, -4, 5]
    target[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * 0.8
    target[:3, 3] = affine[:3, 3] + affine[:3, :3] @ [1.4, 2.1, 2.6] - target[:3, :3] @ [3, 3, 3]
    result = nearest(array, affine, target, (7, 7, 7))
    assert np.count_nonzero(result) > 20
    for place in np.ndindex(7, 7, 7):
        index = np.linalg.solve(affine, target @ [*place, 1])[:3]
        whole = np.floor(index + 0.5).astype(int)
        inside = ((whole >= 0) & (whole < array.shape)).all()
        assert result[place] == (array[tuple(whole)] if inside else 0)


def test_of_overlapping_segments_the_smaller_is_kept(write_scan, tmp_path, about, stamp):
    folder = write_scan()
    scan = read_volume(folder)
    array = np.zeros(scan.shape, np.uint8)
    array[1:4, 1:6, 1:8] = 2
    array[2, 2:4, 3:5] = 1  # the smaller one, with the lower number
    path = tmp_path / "seg.dcm"
    write_seg(scan.with_array(array), read_source(folder), path, about, stamp)

    def fill(dataset):
        frames = dataset.pixel_array.copy()
        for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
                frame[1:6, 1:8] = 1  # under segment 1, too
        dataset.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()

    back, _, said = read_seg(changed(path, fill), scan)
    np.testing.assert_array_equal(back.array, array)
    assert said == ("segments overlap in 4 voxels: the smaller one is kept",)


@pytest.mark.parametrize(
    "name",
    ["highdicom_test_files/seg_image_ct_binary.dcm",
     "highdicom_test_files/seg_image_ct_binary_overlap.dcm",
     "pydicom_data/liver.dcm", "pydicom_data/liver_expb.dcm", "pydicom_data/liver_j2k.dcm",
     "pydicom_data/liver_nonbyte_aligned.dcm"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, on irregular values in them
def test_what_others_wrote_is_read_as_pydicom_has_it(real_data: Path, name):
    path = real_data / "dicom" / name
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    row, column = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient).reshape(2, 3)
    between = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    drawn = 0
    for group, plane in zip(
        dataset.PerFrameFunctionalGroupsSequence,
        dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns), strict=True,
    ):  # fmt: skip
        # The frame's own plane as the image: what its segment covers must be there.
        affine = np.eye(4)
        affine[:3, 0] = np.cross(row, column)
        affine[:3, 1], affine[:3, 2] = column * between[0], row * between[1]
        affine[:3, 3] = group.PlanePositionSequence[0].ImagePositionPatient
        image = Volume(np.zeros((1, *plane.shape), np.uint8), affine)
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        if not plane.any():
            continue
        found, _, said = read_seg(path, image)
        shown = found.array[0] == segment
        assert shown.any()
        assert not (shown & (plane == 0)).any()
        if not said:
            np.testing.assert_array_equal(shown, plane > 0)
        drawn += 1
        if drawn == 3:
            break
    assert drawn


@pytest.mark.parametrize("thickness", [1, 3, 9, None])
def test_a_lone_plane_is_as_thick_as_it_says(write_scan, tmp_path, about, stamp, thickness):
    folder = write_scan()  # 4 mm apart
    scan = read_volume(folder)
    array = np.zeros(scan.shape, np.uint8)
    array[2, 1:4, 2:6] = 1
    path = tmp_path / "seg.dcm"
    write_seg(scan.with_array(array), read_source(folder), path, about, stamp)

    def say_thickness_alone(dataset):
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        del measures.SpacingBetweenSlices
        measures.SliceThickness = thickness

    back, _, _ = read_seg(changed(path, say_thickness_alone), scan)
    if thickness == 9:
        array[[1, 3]] = array[2]
    np.testing.assert_array_equal(back.array, array)


def test_slices_that_overlap_are_those_of_the_image(write_scan, tmp_path, about, stamp):
    folder = write_scan(SliceThickness=8, step_mm=4.0)
    scan = read_volume(folder)
    array = np.zeros(scan.shape, np.uint8)
    array[[1, 3], 1:4, 2:6] = 1
    path = tmp_path / "seg.dcm"
    write_seg(scan.with_array(array), read_source(folder), path, about, stamp)

    def say_thickness_alone(dataset):
        del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices

    back, _, _ = read_seg(changed(path, say_thickness_alone), scan, image=folder)
    np.testing.assert_array_equal(back.array, array)


def no_groups(dataset):
    del dataset.PerFrameFunctionalGroupsSequence


def one_group_less(dataset):
    dataset.NumberOfFrames = 99


def whole_slide(dataset):
    dataset.TotalPixelMatrixRows = 7


def segment_zero(dataset):
    group = dataset.PerFrameFunctionalGroupsSequence[0]
    group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 0


def nan_position(dataset):
    group = dataset.PerFrameFunctionalGroupsSequence[1]
    group.PlanePositionSequence[0].ImagePositionPatient = ["1e30", "0", "0"]


def two_numbers(dataset):
    group = dataset.PerFrameFunctionalGroupsSequence[1]
    group.PlanePositionSequence[0].ImagePositionPatient = ["1", "2"]


def no_spacing(dataset):
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence


def skewed(dataset):
    turn = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    turn.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def off_the_line(dataset):
    group = dataset.PerFrameFunctionalGroupsSequence[5]
    x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
    group.PlanePositionSequence[0].ImagePositionPatient = [x + 30, y, z]


def huge(dataset):
    dataset.Rows = dataset.Columns = 60000


def cut(dataset):
    dataset.PixelData = dataset.PixelData[:20]


def an_image(dataset):
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.2", "CT"


def elsewhere(dataset):
    for group in dataset.PerFrameFunctionalGroupsSequence:
        x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
        group.PlanePositionSequence[0].ImagePositionPatient = [x + 500, y, z]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (no_groups, r"each of the \d+ frames needs a functional group; there are 0"),
        (one_group_less, "each of the 99 frames needs a functional group"),
        (whole_slide, "of a volume is needed; this is of a whole slide"),
        (segment_zero, "belongs to a segment from 1 to 65535; one has"),
        (nan_position, "ImagePositionPatient must be 3 numbers of at most 1e.06; got"),
        (two_numbers, "ImagePositionPatient must be 3 numbers"),
        (no_spacing, "a positive PixelSpacing; got .* and None"),
        (skewed, "two unit vectors at right angles"),
        (off_the_line, "must lie on one line"),
        (huge, "may hold at most .* voxels; its header says"),
        (cut, "packed without gaps .*; there are 20"),
        (an_image, "a DICOM Segmentation is needed; got a file of modality CT"),
        (elsewhere, "must lie within the image of .* none does"),
    ],
)
def test_bad_segmentations_are_refused_in_one_line(seg, change, rule):
    path, labels = seg
    with pytest.raises(DataError, match=rule) as caught:
        read_seg(changed(path, change), labels)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM", b"no DICOM at all" * 20])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.dcm").write_bytes(content)
    grid = Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    with pytest.raises(DataError, match=r"x\.dcm: "):
        read_seg(tmp_path / "x.dcm", grid)


def test_damaged_bytes_never_escape(seg):
    path, labels = seg
    good = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(60):
        bad = bytearray(good)
        for place in rng.integers(132, len(bad), 6):
            bad[place] = int(rng.integers(256))
        path.write_bytes(
            bytes(bad[: int(rng.integers(200, len(bad)))] if rng.random() < 0.3 else bad)
        )
        with contextlib.suppress(DataError):  # the only thing that may be raised
            read_seg(path, labels)
