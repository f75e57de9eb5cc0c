"""Multi-frame files: which frames make one volume, and what scales them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    NuclearMedicineImageStorage,
)

from tfseg.errors import DataError
from tfseg.io import dicom, read_volume

ARRAY = np.random.default_rng(9).integers(0, 1000, (18, 3, 4)).astype(np.uint16)


def item(**elements: Any) -> Sequence:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return Sequence([dataset])


def file_of(array: np.ndarray, sop_class: str, modality: str, **elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.SeriesInstanceUID, dataset.Modality, dataset.InstanceNumber = "1.2.3.5", modality, 1
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = array.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = array.tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def grouped(
    array: np.ndarray,
    groups: Callable[[int], dict[str, Sequence]],
    places: int,
    sop_class: str = EnhancedMRImageStorage,
    modality: str = "MR",
    **elements: Any,
) -> Dataset:
    """An Enhanced file: frame i lies at place i % places, 3 mm apart."""
    frames = []
    for index in range(len(array)):
        position = item(ImagePositionPatient=[1, 2, 3.0 * (index % places)])
        frames.append(Dataset())
        frames[-1].PlanePositionSequence = position
        for keyword, value in groups(index).items():
            setattr(frames[-1], keyword, value)
    shared = {
        "PlaneOrientationSequence": item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        "PixelMeasuresSequence": item(PixelSpacing=[0.5, 0.75], SliceThickness=5),
    }
    return file_of(
        array,
        sop_class,
        modality,
        **{"SharedFunctionalGroupsSequence": item(**shared)} | elements,
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )


def save(dataset: Dataset, folder: Path) -> Path:
    dataset.save_as(folder / "frames.dcm", enforce_file_format=True)
    return folder / "frames.dcm"


def volumes(path: Path) -> dict[str, list[int]]:
    """Label -> the numbers of the frames in each volume."""
    (series,) = dicom.scan_tree(path).series
    found = {}
    for stack in dicom.split(series):
        array = dicom.load(stack).volume.array
        found[stack.label] = [
            [np.array_equal(known, plane) for known in ARRAY].index(True) for plane in array
        ]
    return found


# Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["HU", "US", None])
def test_rescale_outside_the_groups(tmp_path: Path, kind: str | None) -> None:
    dataset = grouped(
        ARRAY, lambda i: {}, 18, MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "CT",
        RescaleSlope=1, RescaleIntercept=-1024,
    )  # fmt: skip
    if kind:
        dataset.RescaleType = kind
    (stack,) = dicom.split(dicom.scan_tree(save(dataset, tmp_path)).series[0])
    loaded = dicom.load(stack)
    assert np.array_equal(loaded.volume.array, ARRAY.astype(int) - 1024)
    assert loaded.unit == ("HU" if kind == "HU" else "")


def test_rescale_in_a_group_goes_before_that_outside(tmp_path: Path) -> None:
    groups = {"PixelValueTransformationSequence": item(RescaleSlope=2, RescaleIntercept=7)}
    dataset = grouped(ARRAY, lambda i: groups, 18, RescaleSlope=1, RescaleIntercept=-1024)
    assert np.array_equal(read_volume(save(dataset, tmp_path)).array, ARRAY * 2 + 7)


def test_frames_with_and_without_a_rescale(tmp_path: Path) -> None:
    scale = {"PixelValueTransformationSequence": item(RescaleSlope=1, RescaleIntercept=-1024)}
    dataset = grouped(ARRAY, lambda i: {} if i == 4 else scale, 18)
    with pytest.raises(DataError, match=r"either all frames have a rescale .*; frame 5 has none"):
        read_volume(save(dataset, tmp_path))


@pytest.mark.parametrize(
    ("odd", "rule"),
    [
        ({}, "image 1 frame 3 has neither, most have both"),
        ({"RescaleIntercept": -1024}, "image 1 frame 3 has the intercept alone, most have both"),
        (
            {"RescaleSlope": 1, "RescaleIntercept": [-1024, 0]},
            "image 1 frame 3: RescaleIntercept must have 1 value",
        ),
        ({"ModalityLUTSequence": item()}, "frame 3: a Modality LUT in a functional group"),
    ],
)
def test_one_frame_without_the_rescale_of_the_others(
    tmp_path: Path, odd: dict[str, Any], rule: str
) -> None:
    usual = {"RescaleSlope": 1, "RescaleIntercept": -1024}

    def groups(index: int) -> dict[str, Sequence]:
        scale = odd if index == 2 else usual
        return {"PixelValueTransformationSequence": item(RescaleType="HU", **scale)}

    with pytest.raises(DataError, match=rule):
        read_volume(save(grouped(ARRAY[:6], groups, 6), tmp_path))


def test_a_slope_of_zero_in_nuclear_medicine(tmp_path: Path) -> None:
    path = save(
        nuclear(SliceVector=SLICES, TimeSlotVector=GATES, RescaleSlope=0, RescaleIntercept=0),
        tmp_path,
    )
    with pytest.raises(DataError, match="the slope not 0; image 1 frame 1 has 0 and 0"):
        volumes(path)


def test_measures_outside_the_groups(tmp_path: Path) -> None:
    dataset = grouped(
        ARRAY, lambda i: {}, 18, SharedFunctionalGroupsSequence=item(), PixelSpacing=[2, 3],
        ImageOrientationPatient=[0, 1, 0, 1, 0, 0],
    )  # fmt: skip
    volume = read_volume(save(dataset, tmp_path))
    np.testing.assert_allclose(volume.spacing_mm, (3, 2, 3))


def test_a_lone_frame_is_as_thick_as_it_says(tmp_path: Path) -> None:
    measures = item(PixelSpacing=[1, 1], SliceThickness=5, SpacingBetweenSlices=8)
    dataset = grouped(ARRAY[:1], lambda i: {"PixelMeasuresSequence": measures}, 1)
    np.testing.assert_allclose(read_volume(save(dataset, tmp_path)).spacing_mm, (5, 1, 1))


# Volumes --------------------------------------------------------------------------------------

FIRST, SECOND, THIRD = list(range(6)), list(range(6, 12)), list(range(12, 18))


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (lambda n: {"TemporalPositionSequence": item(TemporalPositionTimeOffset=2.5 * n)},
         ["time 0", "time 2.5", "time 5"]),
        (lambda n: {"MRTimingAndRelatedParametersSequence": item(FlipAngle=5.0 * n)},
         ["flip angle 0", "flip angle 5", "flip angle 10"]),
        (lambda n: {"CTReconstructionSequence": item(ConvolutionKernel="BHS"[n])},
         ["kernel B", "kernel H", "kernel S"]),
        (lambda n: {"CTXRayDetailsSequence": item(KVP=80 + 20 * n)},
         ["kvp 80", "kvp 100", "kvp 120"]),
        (lambda n: {"MRArterialSpinLabelingSequence": item(ASLContext=f"L{n}")},
         ["label L0", "label L1", "label L2"]),
        (lambda n: {"MRImageFrameTypeSequence": item(ComplexImageComponent="KMP"[n])},
         ["component K", "component M", "component P"]),
        (lambda n: {"FrameContentSequence": item(FrameAcquisitionDateTime=f"2020010110{n}000")},
         ["time 1", "time 2", "time 3"]),
        (lambda n: {"FrameContentSequence": item(DimensionIndexValues=[7, 1 + n])},
         ["dimension 1", "dimension 2", "dimension 3"]),
    ],
)  # fmt: skip
def test_what_tells_frames_at_one_place_apart(
    tmp_path: Path, group: Callable[[int], dict[str, Sequence]], names: list[str]
) -> None:
    pointers = Sequence([*item(DimensionIndexPointer=0x00200032),
                         *item(DimensionIndexPointer=0x00209128)])  # fmt: skip
    dataset = grouped(ARRAY, lambda i: group(i // 6), 6, DimensionIndexSequence=pointers)
    assert volumes(save(dataset, tmp_path)) == dict(zip(names, [FIRST, SECOND, THIRD], strict=True))


def test_files_of_two_times(tmp_path: Path) -> None:
    for number in range(3):
        dataset = grouped(
            ARRAY[6 * number : 6 * number + 6], lambda i: {}, 6,
            AcquisitionDateTime=f"20200101{12 + number}0000", SOPInstanceUID=f"1.2.{number}",
        )  # fmt: skip
        dataset.save_as(tmp_path / f"{9 - number}", enforce_file_format=True)
    assert volumes(tmp_path) == {"time 1": FIRST, "time 2": SECOND, "time 3": THIRD}
    assert not dicom.split(dicom.scan_tree(tmp_path).series[0])[0].cautions


def test_frames_that_nothing_tells_apart_are_a_guess(tmp_path: Path) -> None:
    path = save(grouped(ARRAY, lambda i: {}, 6), tmp_path)
    assert list(volumes(path)) == ["time 1", "time 2", "time 3"]
    (series,) = dicom.scan_tree(path).series
    assert all("only the order" in stack.cautions[0] for stack in dicom.split(series))


# Nuclear medicine -----------------------------------------------------------------------------


def nuclear(**elements: Any) -> Dataset:
    return file_of(ARRAY, NuclearMedicineImageStorage, "NM", **{
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"],
        "ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [2, 2], "SpacingBetweenSlices": 2.5, "NumberOfSlices": 6,
    } | elements)  # fmt: skip


SLICES = [1 + index % 6 for index in range(18)]
GATES = [1 + index // 6 for index in range(18)]


@pytest.mark.parametrize(
    ("vector", "name"),
    [
        ("TimeSlotVector", "time slot"),
        ("RRIntervalVector", "rr interval"),
        ("EnergyWindowVector", "energy window"),
        ("DetectorVector", "detector"),
        ("PhaseVector", "phase"),
        ("TimeSliceVector", "time"),
    ],
)
def test_gates_windows_and_times(tmp_path: Path, vector: str, name: str) -> None:
    path = save(nuclear(**{"SliceVector": SLICES, vector: GATES}), tmp_path)
    assert volumes(path) == {f"{name} 1": FIRST, f"{name} 2": SECOND, f"{name} 3": THIRD}
    # Slices as the inner loop, gates as the outer one, or the other way round.
    SLICES_FIRST = {"SliceVector": [1 + index // 3 for index in range(18)],
                    vector: [1 + index % 3 for index in range(18)]}  # fmt: skip
    path = save(nuclear(**SLICES_FIRST), tmp_path)
    assert list(volumes(path).values()) == [list(range(gate, 18, 3)) for gate in range(3)]


def test_two_vectors_and_a_place_in_the_detector(tmp_path: Path) -> None:
    dataset = nuclear(
        SliceVector=[1 + index % 3 for index in range(18)],
        TimeSlotVector=[1 + index // 3 % 2 for index in range(18)],
        EnergyWindowVector=[1 + index // 6 for index in range(18)],
        DetectorInformationSequence=item(
            ImagePositionPatient=[1, 2, 7], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
        ),
        NumberOfSlices=3,
    )
    path = save(dataset, tmp_path)
    assert len(volumes(path)) == 6
    assert volumes(path)["energy window 2, time slot 1"] == [6, 7, 8]
    (series,) = dicom.scan_tree(path).series
    volume = dicom.load(dicom.split(series)[0]).volume
    np.testing.assert_allclose(volume.affine @ [1, 0, 0, 1], [1, 2, 9.5, 1])


@pytest.mark.parametrize(
    ("first", "sign", "z", "said"),
    [(0, 1, [3, 5.5, 8], False), (4, 1, [3, 5.5, 8], False), (3, -1, [-2, 0.5, 3], True)],
)
def test_the_position_is_that_of_the_first_frame(tmp_path, first, sign, z, said) -> None:
    vector = [first + sign * index for index in range(3)]
    dataset = nuclear(SliceVector=vector, NumberOfFrames=3, NumberOfSlices=3)
    dataset.PixelData = ARRAY[:3].tobytes()
    (stack,) = dicom.split(dicom.scan_tree(save(dataset, tmp_path)).series[0])
    loaded = dicom.load(stack)
    order = sorted(range(3), key=lambda k: vector[k])
    got = {round((loaded.volume.affine @ [k, 0, 0, 1])[2], 3): k for k in range(3)}
    assert sorted(got) == z
    for place, k in zip(z, order, strict=True):
        assert np.array_equal(loaded.volume.array[got[place]], ARRAY[k])
    assert any("does not begin with the lowest" in one for one in loaded.cautions) is said


@pytest.mark.parametrize(("outside", "said"), [(-1024, False), (0, True)])
def test_a_rescale_outside_the_groups_that_contradicts_them(tmp_path, outside, said) -> None:
    scale = item(RescaleSlope=1, RescaleIntercept=-1024)
    dataset = grouped(
        ARRAY[:6], lambda i: {"PixelValueTransformationSequence": scale}, 6, modality="CT",
        RescaleSlope=1, RescaleIntercept=outside, PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    (stack,) = dicom.split(dicom.scan_tree(save(dataset, tmp_path)).series[0])
    loaded = dicom.load(stack)
    # Without a RescaleType, and MONOCHROME1: values that may be HU are not mirrored.
    assert np.array_equal(loaded.volume.array, ARRAY[:6].astype(int) - 1024)
    assert any("outside them is another" in one for one in loaded.cautions) is said


@pytest.mark.parametrize(
    ("elements", "rule"),
    [
        ({"TimeSlotVector": GATES}, "18 frames of 6 slices need a SliceVector"),
        ({"NumberOfSlices": 18, "TimeSlotVector": GATES}, "need a SliceVector"),
        ({}, "18 frames of 6 slices need a SliceVector"),
        ({"SliceVector": SLICES[:7]}, "SliceVector must have a number for each of 18 frames"),
        *(({"ImageType": ["ORIGINAL", "PRIMARY", kind], "NumberOfSlices": 18}, f"of type {kind}:")
          for kind in ("TOMO", "DYNAMIC", "GATED", "STATIC", "WHOLE BODY", "GATED TOMO")),
    ],
)  # fmt: skip
def test_nuclear_medicine_that_is_no_volume(
    tmp_path: Path, elements: dict[str, Any], rule: str
) -> None:
    with pytest.raises(DataError, match=rule):
        read_volume(save(nuclear(**elements), tmp_path))
