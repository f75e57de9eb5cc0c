"""DICOM SEG: label map to file and back, in every orientation, read by others too."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tfseg.errors import ConfigError, DataError
from tfseg.geometry import Reorientation
from tfseg.io import read_volume
from tfseg.io.dicom_out.seg import write_seg
from tfseg.io.dicom_out.seg_read import read_seg
from tfseg.io.dicom_out.sources import read_source

AXES = [np.array(sign) * np.eye(3)[axis] for axis in range(3) for sign in (1.0, -1.0)]
UPRIGHT = [(row, column) for row, column in itertools.product(AXES, AXES) if row @ column == 0]
TURNED = [
    Reorientation(axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]


AXIAL = ((1.0, 0, 0), (0, 1.0, 0))


def random_labels(shape):
    """Labels 0 to 2 everywhere, one slice without any."""
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    labels[shape[0] // 2] = 0
    return labels


def round_trip(folder, target, about, stamp, kind="binary", grid=None):
    scan = read_volume(folder)
    labels = scan.with_array(random_labels(scan.shape))
    shares = np.eye(4, dtype=np.float32)[labels.array] if kind == "fractional" else None
    write_seg(labels, read_source(folder), target, about, stamp, kind=kind, probabilities=shares)
    return labels, read_seg(target, grid or scan)


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap"])
def test_kinds_come_back_identical(write_scan, tmp_path, about, stamp, kind):
    labels, (back, names, _) = round_trip(write_scan(), tmp_path / "o.dcm", about, stamp, kind)
    np.testing.assert_array_equal(back.array, labels.array)
    assert back.same_grid(labels)
    assert names == {1: "liver", 2: "left_lung", 3: "my own thing"}


# Axial, coronal, sagittal; then with a negative cosine, and all the others.
FEW = [UPRIGHT[index] for index in (1, 3, 11, 8, 21)]
OBLIQUE = ((0.8, 0.6, 0.0), (0.36, -0.48, -0.8))


@pytest.mark.parametrize(
    "orientations",
    [
        pytest.param([*FEW, OBLIQUE], id="few"),
        pytest.param(UPRIGHT, marks=pytest.mark.slow, id="all"),
    ],
)
def test_every_orientation_comes_back_identical(write_scan, tmp_path, about, stamp, orientations):
    assert len(UPRIGHT) == 24
    for number, orientation in enumerate(orientations):
        folder = write_scan((3, 4, 5), orientation, name=f"scan{number}")
        target = tmp_path / f"{number}.dcm"
        labels, (back, _, said) = round_trip(folder, target, about, stamp)
        np.testing.assert_array_equal(back.array, labels.array, err_msg=str(orientation))
        assert said == ()


def test_all_48_codes_of_an_image_take_the_labels(write_scan, tmp_path, about, stamp):
    labels, _ = round_trip(write_scan(), tmp_path / "o.dcm", about, stamp)
    assert len(TURNED) == 48
    for turn in TURNED:
        array = np.ascontiguousarray(turn.apply(labels.array))
        image = type(labels)(array, turn.apply_affine(labels.affine, labels.shape))
        np.testing.assert_array_equal(read_seg(tmp_path / "o.dcm", image)[0].array, array)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    angles=st.tuples(*[st.floats(-math.pi, math.pi)] * 3),
    step=st.floats(0.3, 12),
    reverse=st.booleans(),
)
def test_oblique_series_come_back_identical(
    write_scan, tmp_path, about, stamp, angles, step, reverse
):
    a, b, c = angles
    turn = (
        np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
        @ np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
        @ np.array([[1, 0, 0], [0, math.cos(c), -math.sin(c)], [0, math.sin(c), math.cos(c)]])
    )
    number = len(list(tmp_path.iterdir()))
    folder = write_scan(
        (4, 5, 6), turn[:, :2].T, step_mm=-step if reverse else step, name=f"scan{number}"
    )
    labels, (back, _, _) = round_trip(folder, tmp_path / f"{number}.dcm", about, stamp)
    np.testing.assert_array_equal(back.array, labels.array)


def test_highdicom_reads_the_same(write_scan, tmp_path, about, stamp):
    import highdicom

    labels, _ = round_trip(write_scan(), tmp_path / "o.dcm", about, stamp)
    seg = highdicom.seg.segread(tmp_path / "o.dcm")
    volume = seg.get_volume(combine_segments=True)
    there = np.linalg.inv(volume.affine) @ labels.affine
    for place in itertools.product(*[(0, size - 1) for size in labels.shape]):
        index = np.rint(there @ [*place, 1])[:3].astype(int)
        assert ((index >= 0) & (index < volume.array.shape)).all()
        assert volume.array[tuple(index)] == labels.array[place]
    matched = [np.rint(there @ [*place, 1])[:3].astype(int) for place in np.ndindex(*labels.shape)]
    np.testing.assert_array_equal(
        volume.array[tuple(np.transpose(matched))].reshape(labels.shape), labels.array
    )


def test_the_object_says_what_it_is(write_scan, tmp_path, about, stamp):
    folder = write_scan()
    round_trip(folder, tmp_path / "o.dcm", about, stamp)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    source = pydicom.dcmread(folder / "000")
    for keyword in (
        "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
        "StudyID", "AccessionNumber", "FrameOfReferenceUID", "ReferringPhysicianName",
    ):  # fmt: skip
        assert made.get(keyword) == source.get(keyword), keyword
    assert str(made.PatientName) == "Müller^Änne"
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert (made.Modality, made.SeriesNumber) == ("SEG", 1005)
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert not any(element.tag.is_private for element in made.iterall())
    first, second, third = made.SegmentSequence
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    side = second.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert side[0].CodeMeaning == "Left"
    assert third.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Tissue"
    model = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (model.AlgorithmName, model.AlgorithmVersion) == ("unet3d", "tfseg 1.2.3")
    assert about.digest in "".join(model.AlgorithmParameters)
    # Slices 0, 1, 3, 4 hold labels 1 and 2: 8 frames, each refers to its own slice.
    assert made.NumberOfFrames == 8
    at = {}
    for path in folder.iterdir():
        slice_ = pydicom.dcmread(path)
        at[tuple(map(float, slice_.ImagePositionPatient))] = slice_.SOPInstanceUID
    for frame in made.PerFrameFunctionalGroupsSequence:
        place = tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
        item = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.ReferencedSOPInstanceUID == at[place]
        assert item.SpatialLocationsPreserved == "YES"
    listed = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in listed} == set(at.values())


def test_the_same_stamp_gives_the_same_bytes(write_scan, tmp_path, about, stamp):
    folder = write_scan()
    for name in ("a.dcm", "b.dcm"):
        round_trip(folder, tmp_path / name, about, stamp)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_an_empty_label_map_is_a_seg(write_scan, tmp_path, about, stamp):
    folder = write_scan()
    scan = read_volume(folder)
    empty = scan.with_array(np.zeros(scan.shape, np.uint8))
    write_seg(empty, read_source(folder), tmp_path / "o.dcm", about, stamp)
    back, names, _ = read_seg(tmp_path / "o.dcm", scan)
    assert not back.array.any()
    assert len(names) == 3


def test_fractions_are_kept_in_steps_of_a_255th(write_scan, tmp_path, about, stamp):
    folder = write_scan()
    scan = read_volume(folder)
    shares = np.random.default_rng(0).dirichlet(np.ones(4), scan.shape).astype(np.float32)
    labels = scan.with_array(shares.argmax(-1).astype(np.uint8))
    target = tmp_path / "o.dcm"
    write_seg(labels, read_source(folder), target, about, stamp, kind="fractional",
              probabilities=shares)  # fmt: skip
    made = pydicom.dcmread(target)
    assert (made.SegmentationType, made.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    for frame, stored in zip(made.PerFrameFunctionalGroupsSequence, made.pixel_array, strict=True):
        segment = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        height = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        share = shares[round((height - scan.origin_mm[2]) / 4), ..., segment]
        np.testing.assert_allclose(stored / 255, share, atol=0.5 / 255 + 1e-6)
    back, _, said = read_seg(target, scan)
    sure = np.abs(shares[..., 1:] - 0.5).min(-1) > 1 / 255
    expected = np.where(shares[..., 1:].max(-1) >= 0.5, shares[..., 1:].argmax(-1) + 1, 0)
    np.testing.assert_array_equal(back.array[sure], expected[sure])
    assert "fractions of at least a half" in said[0]


def test_a_tilted_series_gets_its_labels_on_its_own_slices(write_scan, tmp_path, about, stamp):
    positions = [(0.0, 1.0 * index, 4.0 * index) for index in range(6)]
    folder = write_scan((6, 20, 9), positions=positions)
    scan, source = read_volume(folder), read_source(folder)
    assert scan.shape == (6, 30, 9)  # 5 mm of tilt are 10 rows of 0.5 mm
    assert "gantry tilt" in source.corrected[0]
    labels = np.zeros(scan.shape, np.uint8)
    labels[1:5, 11:19, 2:7] = 1  # within every slice
    labels[2, 14, 4] = 2
    labels = scan.with_array(labels)
    write_seg(labels, source, tmp_path / "o.dcm", about, stamp)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    assert (made.Rows, made.Columns) == (20, 9)
    # 1 mm is 2 rows: the shifts are whole pixels, and so the way back is exact.
    back, _, _ = read_seg(tmp_path / "o.dcm", scan)
    np.testing.assert_array_equal(back.array, labels.array)
    places = [tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
              for frame in made.PerFrameFunctionalGroupsSequence]  # fmt: skip
    assert set(places) <= set(positions)


def test_an_uneven_series_gets_its_labels_on_its_own_slices(write_scan, tmp_path, about, stamp):
    heights = [0.0, 2.0, 4.0, 7.0, 9.0, 12.0]
    folder = write_scan((6, 5, 6), positions=[(0, 0, height) for height in heights])
    scan, source = read_volume(folder), read_source(folder)
    assert scan.shape == (7, 5, 6)
    labels = np.zeros(scan.shape, np.uint8)
    labels[:, 1:4, 2] = 1
    labels[0, 0, 0] = 2
    write_seg(scan.with_array(labels), source, tmp_path / "o.dcm", about, stamp)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    assert made.NumberOfFrames == 6 * 3  # none left out
    back, _, said = read_seg(tmp_path / "o.dcm", scan)
    np.testing.assert_array_equal(back.array, labels)
    assert "unevenly spaced" in said[0]


def enhanced(slice_of, path, shape=(4, 5, 6)):
    """An Enhanced CT whose frames are stored from the top down, orientation frame by frame."""
    dataset = slice_of(np.zeros(shape[1:]), (0, 0, 0), AXIAL, 0)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.NumberOfFrames = shape[0]
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 3
    shared.PixelMeasuresSequence = Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index in range(shape[0]):
        group, place, turn = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [1, 2, 50 - 3 * index]
        turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        group.PlanePositionSequence = Sequence([place])
        group.PlaneOrientationSequence = Sequence([turn])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    dataset.PixelData = np.arange(np.prod(shape), dtype=np.int16).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_frames_of_a_multiframe_file_are_referred_to_by_number(make_slice, tmp_path, about, stamp):
    file = enhanced(make_slice, tmp_path / "multi.dcm")
    labels, (back, _, _) = round_trip(file, tmp_path / "o.dcm", about, stamp)
    np.testing.assert_array_equal(back.array, labels.array)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    for frame in made.PerFrameFunctionalGroupsSequence:
        height = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        item = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.ReferencedFrameNumber == (50 - height) / 3 + 1
        assert item.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"
    assert len(made.SourceImageSequence) == 1


def test_a_projection_gets_its_labels_without_a_place(make_slice, tmp_path, about, stamp):
    nowhere = dict.fromkeys(
        ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "SliceThickness")
    )
    dataset = make_slice(np.arange(30).reshape(5, 6), (0, 0, 0), AXIAL, 0, Modality="DX", **nowhere)
    dataset.save_as(tmp_path / "dx.dcm", enforce_file_format=True)
    scan = read_volume(tmp_path / "dx.dcm")
    labels = scan.with_array((np.arange(30).reshape(1, 5, 6) > 9).astype(np.uint8))
    write_seg(labels, read_source(tmp_path / "dx.dcm"), tmp_path / "o.dcm", about, stamp)
    np.testing.assert_array_equal(read_seg(tmp_path / "o.dcm", scan)[0].array, labels.array)
    assert "FrameOfReferenceUID" not in pydicom.dcmread(tmp_path / "o.dcm")


def test_careless_headers_are_completed_not_copied(write_scan, tmp_path, about, stamp):
    gone = dict.fromkeys(
        ("PatientID", "PatientName", "StudyDate", "StudyID", "AccessionNumber", "SliceThickness",
         "PositionReferenceIndicator", "FrameOfReferenceUID", "SeriesNumber")
    )  # fmt: skip
    with pydicom.config.disable_value_validation():
        folder = write_scan(PatientSex="X", PatientBirthDate="1950", **gone)
        round_trip(folder, tmp_path / "o.dcm", about, stamp)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    assert (made.PatientSex, made.PatientBirthDate, made.PatientID) == ("", "", "")
    assert made.FrameOfReferenceUID.is_valid  # one of its own
    assert made.SeriesNumber == 1000


@pytest.mark.parametrize(
    ("change", "kind", "error", "rule"),
    [
        (
            {"kind": "mask"},
            "binary",
            ConfigError,
            "one of binary, fractional, labelmap; got 'mask'",
        ),
        ({"kind": "fractional"}, "binary", ConfigError, "probabilities belong to a fractional"),
        ({"labels": 4}, "binary", DataError, "every label needs a name; 4 are named.* holds 4"),
        ({"shape": True}, "binary", DataError, "must be on the grid of its scan"),
    ],
)
def test_what_cannot_be_written_is_refused(
    write_scan, tmp_path, about, stamp, change, kind, error, rule
):
    folder = write_scan()
    scan = read_volume(folder)
    array = np.full(scan.shape, change.get("labels", 1), np.uint8)
    if change.get("shape"):
        array = array[:-1]
    labels = type(scan)(array, scan.affine)
    with pytest.raises(error, match=rule):
        write_seg(labels, read_source(folder), tmp_path / "o.dcm", about, stamp,
                  kind=change.get("kind", kind))  # fmt: skip
    assert not (tmp_path / "o.dcm").exists()


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_source_without_identifiers_is_refused(write_scan, keyword):
    folder = write_scan(**{keyword: None})
    with pytest.raises(DataError, match=f"refers to its source by .* has no {keyword} of digits"):
        read_source(folder)


def test_the_method_of_anonymisation_is_kept_without_more(write_scan, tmp_path, about, stamp):
    method = Dataset()
    method.CodeValue, method.CodingSchemeDesignator = "113100", "DCM"
    method.CodeMeaning = "Basic Application Confidentiality Profile"
    method.add_new(0x00091010, "LO", "a private thing")
    folder = write_scan(
        PatientIdentityRemoved="YES", DeidentificationMethodCodeSequence=Sequence([method])
    )
    round_trip(folder, tmp_path / "o.dcm", about, stamp)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    assert made.PatientIdentityRemoved == "YES"
    assert made.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert not any(element.tag.is_private for element in made.iterall())


def test_nobody_hears_the_patients_name(write_scan, tmp_path, about, stamp, caplog, capfd):
    # A name without ^ is remarked on by libraries.
    folder = write_scan(PatientName="Secret Person", PatientID="secret-id")
    with caplog.at_level("DEBUG"):
        round_trip(folder, tmp_path / "o.dcm", about, stamp)
    said = caplog.text + "".join(capfd.readouterr())
    assert "ecret" not in said
