"""What belongs together: by what files say of themselves, never by their names or order."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from tfseg.errors import DataError
from tfseg.io import dicom, read_volume
from tfseg.io.dicom.copies import fingerprints

ARRAY = np.random.default_rng(8).integers(0, 1000, (12, 4, 5)).astype(np.int16)
HALF = [(10.0, 20.0, 30.0 + 4 * (index % 6)) for index in range(12)]
FIRST, SECOND = list(range(6)), list(range(6, 12))
Write = Callable[..., list[Path]]


def volumes(folder: Path) -> dict[str, Any]:
    """Name -> the numbers in ARRAY of a volume's slices, or why there is none."""
    found: dict[str, Any] = {}
    for series in dicom.scan_tree(folder).series:
        for stack in dicom.split(series):
            try:
                array = dicom.load(stack).volume.array
            except DataError as error:
                found[stack.name] = str(error)
                continue
            assert stack.name not in found
            found[stack.name] = [
                [np.array_equal(known, plane) for known in ARRAY].index(True) for plane in array
            ]
    return found


def cautions(folder: Path) -> str:
    (series,) = dicom.scan_tree(folder).series
    return "; ".join(said for stack in dicom.split(series) for said in dicom.load(stack).cautions)


def shuffle(folder: Path, seed: int) -> None:
    """Give the files of a folder other names, so that they are found in another order."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = random.Random(seed).sample(range(10_000), len(paths))
    for path, name in zip(paths, names, strict=True):
        path.rename(path.with_name(f"new-{name:05d}"))


# Patients, studies, frames of reference -------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("PatientID", ["a", "b"], ["CT 1 (patient 1)", "CT 1 (patient 2)"]),
        ("PatientName", ["A^B", "A^C"], ["CT 1 (patient 1)", "CT 1 (patient 2)"]),
        ("PatientBirthDate", ["19500101", "19500102"], ["CT 1 (patient 1)", "CT 1 (patient 2)"]),
        ("StudyInstanceUID", ["1.2", "1.3"], ["CT 1 (study 1)", "CT 1 (study 2)"]),
        (
            "FrameOfReferenceUID",
            ["1.2", "1.3"],
            ["CT 1 (frame of reference 1)", "CT 1 (frame of reference 2)"],
        ),
        ("SeriesNumber", [3, 4], ["CT 3", "CT 4"]),
        ("Modality", ["CT", "MR"], ["CT 1", "MR 1"]),
    ],
)
@pytest.mark.parametrize("uid", ["1.2.3.1", None])
def test_one_uid_for_two(
    write_series: Write, keyword: str, values: list[Any], names: list[str], uid: str | None
) -> None:
    # The second half lies above the first: together they would be one even volume.
    folder = write_series(
        ARRAY,
        each=lambda i: {keyword: values[i // 6], "InstanceNumber": i},
        SeriesInstanceUID=uid,
    )[0].parent
    for seed in range(3):
        assert volumes(folder) == dict(zip(names, [FIRST, SECOND], strict=True))
        with pytest.raises(DataError, match="there are 2 volumes") as caught:
            read_volume(folder)
        assert all(name in str(caught.value) for name in names)
        shuffle(folder, seed)
    said = [one for series in dicom.scan_tree(folder).series for one in series.said]
    assert keyword == "Modality" or "share a SeriesInstanceUID: they are kept apart" in said[-1]
    assert bool(uid) or said[0].startswith("no SeriesInstanceUID: files of one folder")


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        (lambda i: {"PatientID": "" if i == 3 else "a"}, "1 of 12 files do not say of which pati"),
        (lambda i: {"PatientName": ["DOE^JOHN", "Doe^John^^"][i % 2]}, ""),
        (lambda i: {"StudyInstanceUID": f"1.2.{i}"}, "each of 12 files has another study: their"),
        (lambda i: {"FrameOfReferenceUID": f"1.2.{i}"}, "has another frame of reference: their"),
        (lambda i: {"FrameOfReferenceUID": "" if i == 3 else "1.2"}, ""),
    ],
)
def test_what_is_no_other_patient(
    write_series: Write, elements: Callable[[int], dict[str, Any]], said: str
) -> None:
    folder = write_series(ARRAY, each=elements)[0].parent
    assert volumes(folder) == {"CT 1": list(range(12))}
    assert said in cautions(folder)
    assert bool(said) == bool(cautions(folder))


def test_folders_part_what_has_no_uid(write_series: Write) -> None:
    write_series(ARRAY[:6], SeriesInstanceUID=None, folder="scan/a")
    folder = write_series(ARRAY[6:], SeriesInstanceUID=None, folder="scan/b")[0].parents[1]
    assert sorted(len(series.headers) for series in dicom.scan_tree(folder).series) == [6, 6]


# Order and names ------------------------------------------------------------------------------


def twice(name: str, *values: Any) -> Callable[[int], dict[str, Any]]:
    """InstanceNumber 1 to 6 in both volumes; the element tells them apart."""
    return lambda i: {"InstanceNumber": 1 + i % 6, name: values[i // 6]}


@pytest.mark.parametrize(
    ("each", "names"),
    [
        (twice("AcquisitionTime", "101112", "101152"), "time"),
        (twice("ContentTime", "101112.5", "101112.75"), "time"),
        (twice("AcquisitionDateTime", "20200101235959", "20200102000001+0000"), "time"),
        (twice("FrameReferenceTime", 500, 60000), "time"),
        (twice("FlipAngle", 3, 15), "flip angle 3|flip angle 15"),
        (twice("RepetitionTime", 500, 800), "repetition 500|repetition 800"),
        (twice("KVP", 80, 140), "kvp 80|kvp 140"),
        (twice("ContrastBolusAgent", "a", "b"), "contrast"),
        (twice("ComplexImageComponent", "MAGNITUDE", "PHASE"),
         "component MAGNITUDE|component PHASE"),
        (twice("SeriesDescription", "before", "later"), "description"),
        (twice("PatientPosition", "HFP", "HFS"), "patient position HFP|patient position HFS"),
        (twice("SequenceName", "ep_b0", "ep_b1000#1"), "sequence ep_b0|sequence ep_b1000#1"),
        (twice("ScanOptions", None, "FS"), "scan options none|scan options FS"),
        (twice("CorrectedImage", ["ATTN", "DECY"], "DECY"),
         "corrections ATTN/DECY|corrections DECY"),
        (twice("AcquisitionTime", "235959", "000010"), "time"),
        # A time of its own in every slice; the hours after midnight follow those before it.
        (lambda i: {"InstanceNumber": 1 + i % 6, "AcquisitionTime": f"1011{i:02d}"}, "time"),
        (lambda i: {"InstanceNumber": 1 + i % 6,
                    "AcquisitionTime": ["2359%02d", "0000%02d"][i >= 3] % (i + 20)}, "time"),
        (lambda i: {"InstanceNumber": 1 + i % 6, "AcquisitionDate": ["20191231", "20200101"][i > 7],
                    "AcquisitionTime": ["2359%02d", "0000%02d"][i > 7] % i}, "time"),
    ],
)  # fmt: skip
def test_two_volumes_of_the_same_numbers(
    write_series: Write, each: Callable[[int], dict[str, Any]], names: str
) -> None:
    folder = write_series(ARRAY, HALF, each=each)[0].parent
    one, two = names.split("|") if "|" in names else (f"{names} 1", f"{names} 2")
    for seed in range(3):
        assert volumes(folder) == {f"CT 1 ({one})": FIRST, f"CT 1 ({two})": SECOND}
        shuffle(folder, seed)


def test_what_nothing_tells_apart_is_refused(write_series: Write) -> None:
    folder = write_series(ARRAY, HALF, InstanceNumber=None)[0].parent
    assert volumes(folder) == {
        "CT 1": "series CT 1: slices at one place must differ in an attribute or in time; image 0 "
        "and image 0 differ in their pixels alone. Take one of them out, or number them "
        "(InstanceNumber)."
    }


def test_a_lost_slice_does_not_mix_two_times(write_series: Write) -> None:
    # Times of their own; slice 2 of the first time is lost, so that the second is first there.
    paths = write_series(ARRAY, HALF, each=lambda i: {"AcquisitionTime": f"1011{i:02d}"})
    paths[2].unlink()
    (reason,) = volumes(paths[0].parent).values()
    assert "must be alike in number where only their acquisition time tells them apart" in reason


def test_an_order_of_numbers_is_a_guess_and_said(write_series: Write) -> None:
    folder = write_series(ARRAY, HALF, each=lambda i: {"InstanceNumber": i})[0].parent
    assert "only the order of their number (InstanceNumber) tells them apart" in cautions(folder)


@pytest.mark.parametrize("seed", range(4))
def test_names_of_files_decide_nothing(write_series: Write, seed: int) -> None:
    rng = random.Random(seed)
    wild = {
        index: {
            "InstanceNumber": rng.choice([0, 1, index]),
            "AcquisitionNumber": rng.choice([None, 1, 2]),
            "AcquisitionTime": rng.choice([None, "101010", "101020"]),
            "EchoTime": rng.choice([None, 2, 3]),
            "SOPInstanceUID": f"1.2.{rng.choice([1, index])}",
            "ImagePositionPatient": [10, 20, 4 * rng.randrange(7)],
            "PatientID": rng.choice(["a", "a", "a", "b"]),
        }
        for index in range(12)
    }
    folder = write_series(ARRAY, each=wild.__getitem__)[0].parent
    before = volumes(folder)
    for other in range(4):
        shuffle(folder, other)
        assert volumes(folder) == before


# Copies ---------------------------------------------------------------------------------------


def test_one_sop_uid_for_all(write_series: Write) -> None:
    folder = write_series(ARRAY, SOPInstanceUID="1.2.3")[0].parent
    assert volumes(folder) == {"CT 1": list(range(12))}
    assert "12 images share their SOPInstanceUID with another of other pixels" in cautions(folder)


def test_one_sop_uid_for_two_images_at_one_place(write_series: Write) -> None:
    positions = [(10.0, 20.0, 30.0 + 4 * min(index, 10)) for index in range(12)]
    folder = write_series(
        ARRAY, positions, each=lambda i: {"SOPInstanceUID": f"1.2.{min(i, 10)}"}, InstanceNumber=1
    )[0].parent
    (reason,) = volumes(folder).values()
    assert "image 1 and image 1 differ in their pixels alone" in reason


@pytest.mark.parametrize("uid", ["same", "other", "none"])
def test_copies(write_series: Write, uid: str) -> None:
    paths = write_series(ARRAY)
    for path in paths[2:5]:
        dataset = pydicom.dcmread(path)
        if uid != "same":
            dataset.SOPInstanceUID = f"1.2.{dataset.InstanceNumber}"
        if uid == "none":
            del dataset.SOPInstanceUID
        dataset.SeriesDescription = "copied"
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        dataset.save_as(path.with_name(f"copy {path.name}"))
    assert volumes(paths[0].parent) == {"CT 1": list(range(12))}
    (stack,) = dicom.split(dicom.scan_tree(paths[0].parent).series[0])
    assert "left out: 3" in stack.decisions[0]


def test_a_damaged_copy_of_a_good_image(write_series: Write) -> None:
    paths = write_series(ARRAY)
    whole = paths[3].read_bytes()
    for name in ("0", "zz"):
        paths[3].with_name(name).write_bytes(whole[:-20])
    (stack,) = dicom.split(dicom.scan_tree(paths[0].parent).series[0])
    assert stack.decisions == ("damaged copies of good images left out: 2",)
    assert np.array_equal(dicom.load(stack).volume.array, ARRAY)


def test_acquisitions_that_overlap(write_series: Write) -> None:
    def overlapping(planes: np.ndarray, folder: str) -> Path:
        positions = [(10.0, 20.0, 30.0 + 4 * (index - (index > 5))) for index in range(12)]
        return write_series(
            planes,
            positions,
            each=lambda i: {"AcquisitionNumber": 2 + (i > 5), "InstanceNumber": i},
            folder=folder,
        )[0].parent

    # The slice in both is the same: one volume. It is not: two, for one of them is not the other.
    again = np.concatenate([ARRAY[:6], ARRAY[5:11]])
    assert volumes(overlapping(again, "same")) == {"CT 1": list(range(11))}
    found = volumes(overlapping(ARRAY, "other"))
    assert found == {"CT 1 (acquisition 2)": FIRST, "CT 1 (acquisition 3)": SECOND}


def test_a_series_that_is_there_twice_under_other_uids(write_series: Write) -> None:
    write_series(ARRAY, folder="scan/a", AcquisitionTime="101010")
    folder = write_series(ARRAY, folder="scan/b", AcquisitionTime="111010")[0].parents[1]
    assert volumes(folder) == {"CT 1": list(range(12))}


def test_fingerprints_know_values_not_types(write_series: Write) -> None:
    paths = [
        write_series(
            (ARRAY[:1] % 200).astype(dtype), folder=f"{dtype}-{slope}", RescaleSlope=slope
        )[0]
        for dtype, slope in (("int16", 1), ("uint8", 1), ("uint16", 1), ("int16", 2))
    ]
    frames = [dicom.scan_tree(path).series[0].sheets[0] for path in paths]
    one, other, two, three = fingerprints(frames)
    assert one == other == two != three


# Pictures that are no slices ------------------------------------------------------------------


@pytest.mark.parametrize(
    "elements",
    [
        {"SOPClassUID": SecondaryCaptureImageStorage, "RescaleSlope": None},
        # A picture of a slice keeps the slice's place.
        {"SOPClassUID": SecondaryCaptureImageStorage, "ImagePositionPatient": [10, 20, 34],
         "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PixelData": bytes(60),
         "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        {"Rows": 5, "Columns": 4},
        {"ImageType": ["DERIVED", "SECONDARY"]},
    ],
)  # fmt: skip
def test_pictures_among_the_slices_are_left_out(
    write_series: Write, caplog: pytest.LogCaptureFixture, elements: dict[str, Any]
) -> None:
    folder = write_series(ARRAY, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])[0].parent
    nowhere: dict[str, Any] = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    write_series(ARRAY[:1], folder="scan/more", **(nowhere | elements))
    assert np.array_equal(read_volume(folder).array, ARRAY)
    assert "among the images left out: 1" in caplog.text


def test_pictures_of_several_kinds_among_the_slices(write_series: Write) -> None:
    nowhere: dict[str, Any] = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    folder = write_series(ARRAY)[0].parent
    for name, more in (
        ("a", {"SOPClassUID": SecondaryCaptureImageStorage}),
        ("b", {"SamplesPerPixel": 3, "PixelData": bytes(120)}),
        ("c", {"Rows": 5, "Columns": 4}),
        ("d", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    ):
        write_series(ARRAY[:1], folder=f"scan/{name}", **(nowhere | more))
    (stack,) = dicom.split(dicom.scan_tree(folder).series[0])
    assert np.array_equal(dicom.load(stack).volume.array, ARRAY)
    assert [said.rpartition(" ")[2] for said in stack.decisions] == ["1"] * 4


def test_a_dose_report_in_a_series_of_its_own(
    write_series: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(
        ARRAY[:1], series="999", folder="scan/report", SOPClassUID=SecondaryCaptureImageStorage,
        ImagePositionPatient=None, ImageOrientationPatient=None,
    )  # fmt: skip
    assert read_volume(write_series(ARRAY)[0].parent).array.shape == ARRAY.shape
    assert "left out: series CT 999: a secondary capture without a place is no sl" in caplog.text


def test_a_slice_that_lost_its_place_is_no_volume(
    write_series: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_series(ARRAY)[0].parent
    write_series(
        ARRAY[:1], folder="scan/more", ImagePositionPatient=None, ImageOrientationPatient=None
    )
    assert np.array_equal(read_volume(folder).array, ARRAY)
    assert "left out: series CT 1: every slice needs ImagePositionPatient" in caplog.text


def test_a_derived_picture_between_the_slices(write_series: Write) -> None:
    folder = write_series(ARRAY, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])[0].parent
    write_series(
        ARRAY[:1], [(10, 20, 37)], folder="scan/more", ImageType=["DERIVED", "SECONDARY", "AVERAGE"]
    )
    found = volumes(folder)
    assert found["CT 1"] == list(range(12))
    assert "1 lie between those with image type AXIAL" in found["CT 1 (other image type)"]


def test_diffusion_and_its_map_in_one_series(write_series: Write) -> None:
    kinds = [["ORIGINAL", "PRIMARY", "DIFFUSION"], ["DERIVED", "SECONDARY", "ADC"]]
    folder = write_series(
        ARRAY, HALF, each=lambda i: {"ImageType": kinds[i // 6]},
        Modality="MR", SOPClassUID=MRImageStorage,
    )[0].parent  # fmt: skip
    assert volumes(folder) == {
        "MR 1 (image type ADC)": SECOND,
        "MR 1 (image type DIFFUSION)": FIRST,
    }


@pytest.mark.parametrize("attribute", ["AcquisitionNumber", "AcquisitionTime", None])
def test_two_volumes_a_hair_apart(write_series: Write, attribute: str | None) -> None:
    positions = [(x, y, z + 0.015 * (i > 5)) for i, (x, y, z) in enumerate(HALF)]
    folder = write_series(
        ARRAY, positions, each=lambda i: {attribute: f"{101010 + i // 6}"} if attribute else {}
    )[0].parent
    found = volumes(folder)
    if attribute:
        assert list(found.values()) == [FIRST, SECOND]
    else:
        assert "there are steps of 0.015 beside 3.98 mm, and no attribute" in found["CT 1"]


def test_two_volumes_beside_each_other(write_series: Write) -> None:
    positions = [(x + 200 * (i % 2), y, 4.0 * (i // 2)) for i, (x, y, _) in enumerate(HALF)]
    folder = write_series(ARRAY, positions, InstanceNumber=1)[0].parent
    assert volumes(folder) == {
        "CT 1 (side 1)": list(range(0, 12, 2)),
        "CT 1 (side 2)": list(range(1, 12, 2)),
    }


def test_two_sizes_at_one_place(write_series: Write) -> None:
    write_series(ARRAY[:6], HALF[:6], folder="scan/a")
    folder = write_series(ARRAY[6:, :3], HALF[:6], folder="scan/b")[0].parents[1]
    (series,) = dicom.scan_tree(folder).series
    assert [stack.label for stack in dicom.split(series)] == ["size 3/5", "size 4/5"]


@pytest.mark.parametrize(
    ("numbers", "said"), [(lambda i: 1 + i // 6, ""), (lambda i: 1 + i % 2, "2 acquisitions lie")]
)
def test_acquisitions_that_lie_between_each_other(
    write_series: Write, numbers: Callable[[int], int], said: str
) -> None:
    folder = write_series(ARRAY, each=lambda i: {"AcquisitionNumber": numbers(i)})[0].parent
    assert volumes(folder) == {"CT 1": list(range(12))}
    assert said in cautions(folder)
    assert bool(said) == bool(cautions(folder))


def test_kernels_that_share_no_place_are_said(write_series: Write) -> None:
    folder = write_series(ARRAY, each=lambda i: {"ConvolutionKernel": "HB"[i % 2]})[0].parent
    assert volumes(folder) == {"CT 1": list(range(12))}
    assert (
        cautions(folder) == "slices differ in kernel (B, H) and not in place: taken as one volume"
    )
