"""RT Structure Sets: label map to contours and back, in every orientation; what the file says."""

from __future__ import annotations

import dataclasses
import importlib.resources
import itertools
import json
from collections import Counter

import highdicom
import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from tfseg.errors import DataError
from tfseg.geometry import Reorientation
from tfseg.io import read_volume
from tfseg.io.dicom_out.rtstruct import STORAGE, write_rtstruct
from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
from tfseg.io.dicom_out.sources import read_source
from tfseg.volume import Volume

AXES = [np.array(sign) * np.eye(3)[axis] for axis in range(3) for sign in (1.0, -1.0)]
UPRIGHT = [(row, column) for row, column in itertools.product(AXES, AXES) if row @ column == 0]
FEW = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "negative": ((-1, 0, 0), (0, -1, 0)),
    "oblique": ((0.8, 0.6, 0.0), (0.36, -0.48, -0.8)),
    "steep": tuple(Rotation.from_euler("xyz", [50, -35, 20], degrees=True).as_matrix().T[:2]),
}
TURNED = [
    Reorientation(axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]


def blocks(shape):
    """Label 1 and 2 at random, every pixel for itself, one slice without any."""
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    labels[shape[0] // 2] = 0
    return labels


def sphere(shape):
    z, y, x = np.indices(shape)
    return (np.hypot(np.hypot(y - 14.3, x - 15.1), 4 * (z - 4.2)) < 11.5).astype(np.uint8)


def torus(shape):
    """A ring around the first axis: slices have holes."""
    z, y, x = np.indices(shape)
    tube = np.hypot(np.hypot(y - 15.2, x - 14.7) - 9.1, 3 * (z - 4))
    return (tube < 4.4).astype(np.uint8)


def two_parts(shape):
    z, y, x = np.indices(shape)
    first = np.hypot(np.hypot(y - 8, x - 8), 2 * (z - 3)) < 6.3
    second = np.hypot(np.hypot(y - 21, x - 22), 2 * (z - 5)) < 5.2
    return (first | second).astype(np.uint8)


def shells(shape):
    """Two shells of label 1, one in the other, and label 2 in the middle."""
    z, y, x = np.indices(shape)
    away = np.hypot(np.hypot(y - 14.6, x - 14.9), 3 * (z - 4))
    labels = ((away < 13.5) & (away > 10.5) | (away < 8) & (away > 5.2)).astype(np.uint8)
    labels[away < 3] = 2
    return labels


def round_trip(folder, target, about, stamp, shape):
    scan = read_volume(folder)
    labels = scan.with_array(shape(scan.shape))
    write_rtstruct(labels, read_source(folder), target, about, stamp)
    return labels, read_rtstruct(target, scan)


@pytest.mark.parametrize("orientation", FEW)
def test_label_maps_come_back_identical(write_scan, tmp_path, about, stamp, orientation):
    folder = write_scan((9, 30, 31), FEW[orientation], step_mm=2.5)
    for shape in (sphere, torus, two_parts, shells):
        labels, (back, names, _) = round_trip(folder, tmp_path / "o.dcm", about, stamp, shape)
        assert np.count_nonzero(labels.array) > 500
        np.testing.assert_array_equal(back.array, labels.array)
        assert back.same_grid(labels)
        assert names == {1: "liver", 2: "left_lung", 3: "my own thing"}


@pytest.mark.parametrize("orientation", ["axial", "coronal", "steep"])
def test_single_pixels_come_back_identical(write_scan, tmp_path, about, stamp, orientation):
    folder = write_scan((3, 9, 10), FEW[orientation])
    labels, (back, _, _) = round_trip(folder, tmp_path / "o.dcm", about, stamp, blocks)
    np.testing.assert_array_equal(back.array, labels.array)


@pytest.mark.slow
@pytest.mark.parametrize("step_mm", [3.0, -3.0])
@pytest.mark.parametrize("number", range(len(UPRIGHT)))
def test_every_orientation_comes_back_identical(
    write_scan, tmp_path, about, stamp, number, step_mm
):
    folder = write_scan((6, 12, 13), UPRIGHT[number], step_mm=step_mm)
    labels, (back, _, _) = round_trip(folder, tmp_path / "o.dcm", about, stamp, blocks)
    np.testing.assert_array_equal(back.array, labels.array)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_any_oblique_series_comes_back_identical(write_scan, tmp_path, about, stamp, seed):
    turn = Rotation.random(rng=seed).as_matrix()
    step_mm = float(np.random.default_rng(seed).uniform(0.3, 9))
    folder = write_scan((5, 12, 13), turn.T[:2], step_mm=step_mm)
    labels, (back, _, _) = round_trip(folder, tmp_path / "o.dcm", about, stamp, blocks)
    np.testing.assert_array_equal(back.array, labels.array)


def test_an_image_in_any_of_48_orders_takes_the_contours(write_scan, tmp_path, about, stamp):
    labels, _ = round_trip(write_scan((3, 4, 5)), tmp_path / "o.dcm", about, stamp, blocks)
    for turn in TURNED:
        array = np.ascontiguousarray(turn.apply(labels.array))
        image = Volume(array, turn.apply_affine(labels.affine, labels.shape))
        np.testing.assert_array_equal(read_rtstruct(tmp_path / "o.dcm", image)[0].array, array)


def test_slices_that_are_left_out_stay_empty(write_scan, tmp_path, about, stamp):
    # Without the planes that the file tells of, every second slice could be meant as drawn thickly.
    def odd(shape):
        labels = torus(shape)
        labels[::2] = 0
        return labels

    labels, (back, _, _) = round_trip(
        write_scan((9, 30, 31)), tmp_path / "o.dcm", about, stamp, odd
    )
    np.testing.assert_array_equal(back.array, labels.array)


def dice(first, second):
    return (
        2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))
    )


def big_ball(shape):
    z, y, x = np.indices(shape)
    return (np.hypot(np.hypot((y - 30) * 0.5, (x - 22) * 0.75), (z - 11) * 1.0) < 10).astype(
        np.uint8
    )


@pytest.mark.parametrize("kind", ["tilted", "uneven"])
def test_corrected_series_come_back_nearly_the_same(write_scan, tmp_path, about, stamp, kind):
    heights = np.arange(23) * 1.0
    if kind == "uneven":
        heights[12:] += 0.4 * np.arange(11)
    shift = 0.25 * heights if kind == "tilted" else 0 * heights
    positions = [(0.0, float(y), float(z)) for y, z in zip(shift, heights, strict=True)]
    folder = write_scan((23, 60, 46), positions=positions)
    assert read_source(folder).corrected
    labels, (back, _, _) = round_trip(folder, tmp_path / "o.dcm", about, stamp, big_ball)
    # The way leads over the slices as they are: nearest neighbour there and back.
    assert dice(back.array > 0, labels.array > 0) > 0.97


def test_an_empty_label_map_is_a_structure_set(write_scan, tmp_path, about, stamp):
    def nothing(shape):
        return np.zeros(shape, np.uint8)

    _, (back, names, remarks) = round_trip(write_scan(), tmp_path / "o.dcm", about, stamp, nothing)
    assert not back.array.any()
    assert len(names) == 3
    assert remarks == tuple(f"{name}: it has no closed contour" for name in about.names[1:])


def test_the_object_says_what_it_is(write_scan, tmp_path, about, stamp):
    folder = write_scan((9, 30, 31))
    labels, _ = round_trip(folder, tmp_path / "o.dcm", about, stamp, shells)
    made, source = pydicom.dcmread(tmp_path / "o.dcm"), pydicom.dcmread(folder / "000")
    for keyword in (
        "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
        "StudyID", "AccessionNumber", "FrameOfReferenceUID", "ReferringPhysicianName",
    ):  # fmt: skip
        assert made.get(keyword) == source.get(keyword), keyword
    assert str(made.PatientName) == "Müller^Änne"
    assert (made.SOPClassUID, made.Modality, made.SeriesNumber) == (STORAGE, "RTSTRUCT", 1005)
    assert (made.ApprovalStatus, made.StructureSetLabel) == ("UNAPPROVED", "unet3d")
    assert not any(element.tag.is_private for element in made.iterall())
    rois = made.StructureSetROISequence
    assert [roi.ROIName for roi in rois] == ["liver", "left_lung", "my own thing"]
    assert [roi.ROINumber for roi in rois] == [1, 2, 3]
    voxel_ml = 0.5 * 0.75 * 4 / 1000
    counts = np.bincount(labels.array.ravel(), minlength=4)
    assert [float(roi.ROIVolume) for roi in rois] == pytest.approx(list(counts[1:] * voxel_ml))
    model = rois[0].ROIDerivationAlgorithmIdentificationSequence[0]
    assert (model.AlgorithmName, model.AlgorithmVersion) == ("unet3d", "tfseg 1.2.3")
    assert about.digest in model.AlgorithmParameters
    assert [tuple(roi.ROIDisplayColor) for roi in made.ROIContourSequence] == list(
        about.colours[1:]
    )
    kinds = [item.RTROIIdentificationCodeSequence[0] for item in made.RTROIObservationsSequence]
    assert kinds[0].CodeValue == "10200004"
    assert kinds[1].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert [item.RTROIInterpretedType for item in made.RTROIObservationsSequence] == [
        "ORGAN", "ORGAN", "",
    ]  # fmt: skip
    assert "ContourSequence" not in made.ROIContourSequence[2]  # it is nowhere


def test_every_contour_refers_to_the_slice_it_lies_in(write_scan, tmp_path, about, stamp):
    folder = write_scan((9, 30, 31), FEW["oblique"])
    round_trip(folder, tmp_path / "o.dcm", about, stamp, torus)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    slices = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, folder.iterdir())}
    contours = made.ROIContourSequence[0].ContourSequence
    assert len(contours) > 2
    for number, contour in enumerate(contours, start=1):
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        assert contour.ContourNumber == number
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        slice_ = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        row, column = np.array(slice_.ImageOrientationPatient, float).reshape(2, 3)
        away = points - np.array(slice_.ImagePositionPatient, float)
        assert np.abs(away @ np.cross(row, column)).max() < 1e-4
        assert (away @ row).min() > 0.75 * 0.4  # within the picture
    study = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    series = study.RTReferencedSeriesSequence[0]
    listed = [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence]
    assert (set(listed), len(listed)) == (set(slices), 9)
    planes = made.ROIContourSequence[0].SourcePixelPlanesCharacteristicsSequence[0]
    assert float(planes.SpacingBetweenSlices) == pytest.approx(4)
    assert (planes.NumberOfFrames, planes.Rows, planes.Columns) == (9, 30, 31)


def standard(name):
    """A table of the standard that highdicom carries; the test skips where it does no more."""
    path = importlib.resources.files(highdicom) / "_standard" / f"{name}.json"
    if not path.is_file():
        pytest.skip("this release of highdicom carries no tables of the standard")
    return json.loads(path.read_text(encoding="utf-8"))


def test_all_that_the_standard_asks_for_is_there_and_nothing_else(
    write_scan, tmp_path, about, stamp
):
    round_trip(write_scan((9, 30, 31)), tmp_path / "o.dcm", about, stamp, shells)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    modules = standard("iod_module_map")[standard("sop_class_iod_map")[STORAGE]]
    attributes = standard("module_attribute_map")
    known, asked = set(), []
    for module in modules:
        for one in attributes[module["key"]]:
            place = (*one["path"], one["keyword"])
            known.add(place)
            if one["type"] in {"1", "2"} and module["usage"] == "M":
                asked.append((tuple(one["path"]), one["keyword"], one["type"]))

    def datasets(path):
        found = [made]
        for keyword in path:
            found = [item for dataset in found for item in dataset.get(keyword) or []]
        return found

    for path, keyword, kind in asked:
        for dataset in datasets(path):
            assert keyword in dataset, (path, keyword)
            if kind == "1":
                assert dataset[keyword].value not in (None, ""), (path, keyword)

    def check(dataset, path):
        for element in dataset:
            assert (*path, element.keyword) in known, (path, element.keyword)
            if element.VR == "SQ":
                for item in element.value:
                    check(item, (*path, element.keyword))

    check(made, ())


def test_the_same_stamp_gives_the_same_bytes(write_scan, tmp_path, about, stamp):
    folder = write_scan((9, 30, 31))
    for name in ("a.dcm", "b.dcm"):
        round_trip(folder, tmp_path / name, about, stamp, torus)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_frames_of_one_file_are_referred_to_by_number(write_scan, tmp_path, about, stamp):
    folder = write_scan((4, 9, 10))
    scan, source = read_volume(folder), read_source(folder)
    # As of an Enhanced object: slices share one header and are its frames, in their order.
    first = source.slices[0].header
    frames = tuple(
        dataclasses.replace(one, header=first, frame_number=number)
        for number, one in enumerate(source.slices, start=1)
    )
    array = np.zeros(scan.shape, np.uint8)
    array[1:3, 2:6, 5:9] = 1
    source = dataclasses.replace(source, slices=frames)
    write_rtstruct(scan.with_array(array), source, tmp_path / "o.dcm", about, stamp)
    np.testing.assert_array_equal(read_rtstruct(tmp_path / "o.dcm", scan)[0].array, array)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    items = [one.ContourImageSequence[0] for one in made.ROIContourSequence[0].ContourSequence]
    assert [item.ReferencedFrameNumber for item in items] == [2, 3]
    assert {item.ReferencedSOPInstanceUID for item in items} == {first.SOPInstanceUID}
    study = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    assert len(study.RTReferencedSeriesSequence[0].ContourImageSequence) == 1


def test_tiles_of_a_mosaic_have_contours_without_a_slice(write_scan, tmp_path, about, stamp):
    folder = write_scan((4, 9, 10))
    scan, source = read_volume(folder), read_source(folder)
    tiles = tuple(dataclasses.replace(one, is_tile=True) for one in source.slices)
    labels = scan.with_array(np.ones(scan.shape, np.uint8))
    source = dataclasses.replace(source, slices=tiles)
    write_rtstruct(labels, source, tmp_path / "o.dcm", about, stamp)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    contours = made.ROIContourSequence[0].ContourSequence
    assert not any("ContourImageSequence" in contour for contour in contours)


def test_a_structure_of_many_points_is_written_whole(write_scan, tmp_path, about, stamp):
    # One contour beyond 65534 bytes, which explicit syntaxes cannot hold as decimal strings.
    def comb(shape):
        labels = np.zeros(shape, np.uint8)
        labels[1, 2:-2, 2:-2:2] = 1
        labels[1, 2, 2:-2] = 1
        labels[1, 3:-3:4, 2:-2:2] = 0
        labels[1, 4:-3:4, 2:-2] = 1
        labels[1, 3:-3, 2] = 1
        return labels

    labels, (back, _, _) = round_trip(
        write_scan((3, 120, 140)), tmp_path / "o.dcm", about, stamp, comb
    )
    np.testing.assert_array_equal(back.array, labels.array)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    sizes = Counter(
        len(contour.get_item("ContourData").value) > 65534
        for contour in made.ROIContourSequence[0].ContourSequence
    )
    assert sizes[True] >= 1


def test_what_cannot_be_written_is_refused(write_scan, tmp_path, about, stamp):
    target = tmp_path / "o.dcm"
    folder = write_scan()
    scan, source = read_volume(folder), read_source(folder)
    high = scan.with_array(np.full(scan.shape, 4, np.uint8))
    with pytest.raises(DataError, match="below 4, the number of names; got 4"):
        write_rtstruct(high, source, target, about, stamp)
    elsewhere = Volume(np.zeros(scan.shape, np.uint8), np.eye(4))
    with pytest.raises(DataError, match="on the grid of its scan"):
        write_rtstruct(elsewhere, source, target, about, stamp)
    assert not target.exists()


REAL = {
    # pattern of a path below the folder of real DICOM: whether the reader corrects it
    "brain_tumor_progression/PGBM-001/*/11-T1post-03326": False,  # oblique
    "udacity_TestVolumes/Study1/13_HCropVolume": False,
    "pydicom_data/eCT_Supplemental.dcm": False,  # multi-frame
    "dcm_qa_ts/In/1.dcm": False,  # mosaic
    "dcm_qa_ct/In/Philips": True,  # gantry tilt
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")  # of the scans themselves
@pytest.mark.parametrize("place", REAL)
def test_real_series_take_contours(real_data, tmp_path, about, stamp, place):
    path = next((real_data / "dicom").glob(place))
    scan, source = read_volume(path), read_source(path)
    assert bool(source.corrected) == REAL[place]
    # A box in the middle, and what is brightest.
    array = (scan.array > np.quantile(scan.array, 0.97)).astype(np.uint8)
    middle = tuple(slice(size // 4, max(size // 4 + 1, size // 2)) for size in scan.shape)
    array[middle] = 2
    write_rtstruct(scan.with_array(array), source, tmp_path / "o.dcm", about, stamp)
    back, _, _ = read_rtstruct(tmp_path / "o.dcm", scan)
    if source.corrected:
        assert dice(back.array == 2, array == 2) > 0.97
    else:
        np.testing.assert_array_equal(back.array, array)
