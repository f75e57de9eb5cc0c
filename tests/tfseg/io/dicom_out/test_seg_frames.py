"""How far a frame of a Segmentation reaches: objects written with pydicom alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tfseg.errors import DataError
from tfseg.io.dicom_out.seg_read import read_seg
from tfseg.volume import Volume

ROWS, COLUMNS, STEP = 11, 13, 3.0
AXIAL = np.eye(3)  # columns: along a row, along a column, normal
OBLIQUE = np.linalg.qr(np.array([[1.0, 0.3, 0.2], [-0.2, 1, 0.4], [0.1, -0.5, 1]]))[0]
ORIGIN = np.array([-20.0, -30.0, 100.0])


def group(**sequences: dict[str, Any]) -> Dataset:
    """Functional groups, each of one item."""
    result = Dataset()
    for keyword, elements in sequences.items():
        item = Dataset()
        for name, value in elements.items():
            if value is not None:
                setattr(item, name, value)
        setattr(result, keyword, [item])
    return result


def make_seg(
    path: Path,
    frames: list[tuple[float, int, np.ndarray]],
    *,
    thickness: Any = None,
    between: float | None = None,
    axes: np.ndarray = AXIAL,
    kind: str = "BINARY",
    **more: Any,
) -> Path:
    """Write frames, (height in mm, segment, pixels) each; thickness is one or one a frame."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66." + ("7" if kind == "LABELMAP" else "4")
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "1.2.4", "SEG"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SegmentationType, dataset.NumberOfFrames = kind, len(frames)
    dataset.Rows, dataset.Columns = frames[0][2].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelRepresentation = 0
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.SegmentSequence = []
    for number in sorted({segment for _, segment, _ in frames}):
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, f"s{number}"
        dataset.SegmentSequence.append(item)
    each = thickness if isinstance(thickness, list) else [thickness] * len(frames)
    dataset.SharedFunctionalGroupsSequence = [
        group(
            PlaneOrientationSequence={
                "ImageOrientationPatient": [float(f"{one:.12f}") for one in axes[:, :2].T.ravel()]
            }
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        group(
            PlanePositionSequence={
                "ImagePositionPatient": [
                    float(f"{one:.9f}") for one in ORIGIN + axes[:, 2] * height
                ]
            },
            PixelMeasuresSequence={
                "PixelSpacing": [0.8, 0.7], "SliceThickness": thick, "SpacingBetweenSlices": between
            },
            SegmentIdentificationSequence={"ReferencedSegmentNumber": segment},
        )
        for (height, segment, _), thick in zip(frames, each, strict=True)
    ]  # fmt: skip
    pixels = np.stack([pixels for _, _, pixels in frames])
    if bits == 1:
        packed = np.packbits(pixels.astype(bool).ravel(), bitorder="little").tobytes()
    else:
        packed = pixels.astype(np.uint8).tobytes()
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    if kind == "FRACTIONAL":
        dataset.MaximumFractionalValue = 255
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def image_of(slices: int = 8, step: float = STEP, axes: np.ndarray = AXIAL) -> Volume:
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = axes[:, 2] * step, ORIGIN
    affine[:3, 1], affine[:3, 2] = axes[:, 1] * 0.8, axes[:, 0] * 0.7
    return Volume(np.zeros((slices, ROWS, COLUMNS), np.uint8), affine)


def mask(value: int = 1) -> np.ndarray:
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[2:8, 3:10] = value  # 42 pixels
    return pixels


# Heights of the frames, their thickness, their spacing; the slices (3 mm apart) that show them.
REACH = [
    ("sparse", [6, 18], 3, None, [2, 6]),
    ("spacing alone", [6, 18], None, 3, [2, 6]),
    ("spacing to the next frame", [6, 18], 3, 12, [2, 6]),
    ("neither", [6, 18], None, None, [2, 6]),
    ("a lone frame", [9], 3, None, [3]),
    ("a lone thick one", [9], 9, None, [2, 3, 4]),
    ("a lone one of no thickness", [9], None, None, [3]),
    ("thick, one after the other", [3, 12], 9, 9, [0, 1, 2, 3, 4, 5]),
    ("thick, with one missing", [4.5, 16.5], 6, 6, [1, 2, 5, 6]),
    ("overlapping slices", [6, 9, 18], 6, None, [2, 3, 6]),
    ("thin, each on its slice", [0, 12, 21], 1, None, [0, 4, 7]),
    ("thin, some between", [6, 7, 8, 9.2], 1, 1, [2, 3]),
    ("of two thicknesses", [3, 15], [3, 9], None, [1, 4, 5, 6]),
    ("small gaps between slices", [3, 9.5, 16], 5, None, [0, 1, 2, 3, 4, 5, 6]),
    ("downwards", [18, 6], 3, None, [2, 6]),
    ("uneven", [0, 3, 6, 12, 21], 3, None, [0, 1, 2, 4, 7]),
]


@pytest.mark.parametrize("axes", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize(
    ("heights", "thickness", "between", "slices"),
    [pytest.param(*row[1:], id=row[0]) for row in REACH],
)
def test_a_frame_is_as_thick_as_it_says(tmp_path, axes, heights, thickness, between, slices):
    frames = [(height, 1, mask()) for height in heights]
    path = make_seg(tmp_path / "s.dcm", frames, thickness=thickness, between=between, axes=axes)
    image = image_of(axes=axes)
    found, _, said = read_seg(path, image)
    expected = np.zeros(image.shape, np.uint8)
    expected[slices] = mask()
    np.testing.assert_array_equal(found.array, expected)
    if thickness is None and between is None:
        assert "does not say how thick" in said[0]
    # Looked at along another axis, or from below, it is the same.
    turned = image.oriented("LSA")[0]
    again = read_seg(path, turned)[0]
    np.testing.assert_array_equal(again.oriented("SPL")[0].array, found.oriented("SPL")[0].array)


@pytest.mark.parametrize("step", [1.0, 2.0, 5.0])
def test_on_other_slices_it_is_the_slab_that_counts(tmp_path, step):
    heights, thickness = [4.2, 13.1, 19.3], 3.0
    path = make_seg(tmp_path / "s.dcm", [(h, 1, mask()) for h in heights], thickness=thickness)
    image = image_of(24, step)
    found, _, said = read_seg(path, image)
    places = step * np.arange(24)
    inside = (np.abs(places[:, np.newaxis] - heights) < thickness / 2).any(axis=1)
    np.testing.assert_array_equal(found.array > 0, inside[:, np.newaxis, np.newaxis] & (mask() > 0))
    assert any("on another grid" in one for one in said)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_have_frames_of_their_own(tmp_path, kind):
    one, two = mask(), np.zeros((ROWS, COLUMNS), np.uint8)
    two[0:3, 0:4] = 1
    if kind == "LABELMAP":
        frames = [(6, 0, 3 * one), (9, 0, np.where(two > 0, 7, 3 * one)), (15, 0, 7 * two)]
    else:
        high = 255 if kind == "FRACTIONAL" else 1
        frames = [(6, 3, high * one), (9, 3, high * one), (9, 7, high * two), (15, 7, high * two)]
    path = make_seg(tmp_path / "s.dcm", frames, thickness=3, kind=kind)
    if kind == "LABELMAP":
        dataset = pydicom.dcmread(path)
        for number in (3, 7):
            item = Dataset()
            item.SegmentNumber, item.SegmentLabel = number, f"s{number}"
            dataset.SegmentSequence.append(item)
        dataset.SegmentSequence = dataset.SegmentSequence[-2:]
        dataset.save_as(path)
    found, names, _ = read_seg(path, image_of())
    expected = np.zeros((8, ROWS, COLUMNS), np.uint8)
    expected[[2, 3]] = 3 * one
    expected[3][two > 0] = 7
    expected[5] = 7 * two
    np.testing.assert_array_equal(found.array, expected)
    assert names == {3: "s3", 7: "s7"}


def test_frames_that_show_nowhere_are_told(tmp_path):
    path = make_seg(tmp_path / "s.dcm", [(6, 1, mask()), (90, 1, mask())], thickness=3)
    found, _, said = read_seg(path, image_of())
    assert int(found.array.sum()) == 42
    assert said == ("1 of 2 planes show nowhere: they lie outside the image or between its slices",)
    path = make_seg(tmp_path / "s.dcm", [(7.5, 1, mask())], thickness=1)
    with pytest.raises(
        DataError, match=r"none does\. The 1 planes lie beside it or between its sl"
    ):
        read_seg(path, image_of())


def test_nothing_drawn_is_no_fault(tmp_path):
    path = make_seg(tmp_path / "s.dcm", [(6, 1, 0 * mask())], thickness=3)
    assert not read_seg(path, image_of())[0].array.any()


def test_binary_pixels_in_bytes_and_segments_of_one_name(tmp_path):
    path = make_seg(
        tmp_path / "s.dcm", [(6, 1, mask()), (9, 5, mask())], thickness=3, BitsAllocated=8,
        BitsStored=8, HighBit=7, PixelData=np.stack([mask(255)] * 2).tobytes(),
    )  # fmt: skip
    dataset = pydicom.dcmread(path)
    for item in dataset.SegmentSequence:
        item.SegmentLabel = "x"
    dataset.save_as(path)
    found, names, _ = read_seg(path, image_of(), names=["x"])
    assert (names, np.unique(np.nonzero(found.array)[0]).tolist()) == ({1: "x"}, [2, 3])


def number_twice(dataset):
    dataset.SegmentSequence.append(dataset.SegmentSequence[0])


def no_number(dataset):
    del dataset.SegmentSequence[0].SegmentNumber


def undescribed(dataset):
    dataset.SegmentSequence = dataset.SegmentSequence[1:]


def padded(dataset):  # each frame to whole bytes
    frame = np.packbits(mask().ravel(), bitorder="little").tobytes()
    dataset.PixelData, dataset.NumberOfFrames = frame * 20, 20
    dataset.PerFrameFunctionalGroupsSequence = [dataset.PerFrameFunctionalGroupsSequence[0]] * 20


def no_frame(dataset):
    dataset.NumberOfFrames, dataset.PerFrameFunctionalGroupsSequence = 0, []


def one_value_too_many(dataset):
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    pixels = np.concatenate([mask(1), mask(3)])
    dataset.PixelData = pixels.tobytes()


def elements(**values):
    def change(dataset):
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    ("kind", "change", "rule"),
    [
        ("BINARY", number_twice, "needs a SegmentNumber of its own, to 65535 .*; got 1"),
        ("BINARY", no_number, "needs a SegmentNumber of its own, to 65535 .*; got None"),
        ("BINARY", undescribed, "needs an item of SegmentSequence; number 1 has pixels"),
        ("LABELMAP", undescribed, "needs an item of SegmentSequence; number 1 has pixels"),
        ("BINARY", padded, "20 frames of 11 x 13 pixels need 358 bytes, packed without gaps"),
        ("BINARY", no_frame, "has at least one frame .*; got 0"),
        ("BINARY", one_value_too_many, "are 0 or 1; these have several values to 3"),
        ("BINARY", elements(SegmentationType="MASK"), "SegmentationType must be .*; got MASK"),
        ("FRACTIONAL", elements(SegmentationType=None), "SegmentationType must be .*; got none"),
        ("BINARY", elements(PhotometricInterpretation="MONOCHROME1"), "got 1 of MONOCHROME1"),
        ("BINARY", elements(SamplesPerPixel=3), "one sample of MONOCHROME2"),
        ("FRACTIONAL", elements(MaximumFractionalValue=None), "from 1 to 255 .*; got None"),
        ("FRACTIONAL", elements(MaximumFractionalValue=0), "from 1 to 255 .*; got 0"),
        ("FRACTIONAL", elements(MaximumFractionalValue=100), "at most .*, 100; one is 200"),
    ],
)
def test_what_says_two_things_is_refused(tmp_path, kind, change, rule):
    high = 200 if kind == "FRACTIONAL" else 1
    frames = [(6, 1, mask(high)), (9, 2, mask(high))]
    path = make_seg(tmp_path / "s.dcm", frames, thickness=3, kind=kind)
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    with pytest.raises(DataError, match=rule) as caught:
        read_seg(path, image_of())
    assert "\n" not in str(caught.value)
