"""What makes slices of one series different volumes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.errors import DataError
from tfseg.io import dicom
from tfseg.io.dicom.convert import convert_tree
from tfseg.io.dicom.frames import Frame, Header
from tfseg.io.dicom.grid import place
from tfseg.io.dicom.headers import Series
from tfseg.io.dicom.traits import TRAITS

ARRAY = np.random.default_rng(6).integers(0, 1000, (12, 4, 5)).astype(np.int16)
Write = Callable[..., list[Path]]


def labels(folder: Path) -> dict[str, list[int]]:
    """Label -> the slices of each volume, as their numbers in ARRAY, in the volume's order."""
    (series,) = dicom.scan_tree(folder).series
    found = {}
    for stack in dicom.split(series):
        array = dicom.load(stack).volume.array
        found[stack.label] = [
            next(index for index, known in enumerate(ARRAY) if np.array_equal(known, plane))
            for plane in array
        ]
    return found


def together(places: int, count: int = 12) -> list[tuple[float, ...]]:
    """Positions that repeat: slice i lies at place i % places."""
    return [(10.0, 20.0, 30.0 + 4 * (index % places)) for index in range(count)]


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("EchoTime", [2.3, 4.6, 6.9], ["echo 2.3", "echo 4.6", "echo 6.9"]),
        ("EchoNumbers", [1, 2, 3], ["echo 1", "echo 2", "echo 3"]),
        ("InversionTime", [100, 200, 400], ["inversion 100", "inversion 200", "inversion 400"]),
        ("DiffusionBValue", [0, 500, 1000], ["b 0", "b 500", "b 1000"]),
        ("TemporalPositionIdentifier", [1, 2, 3], ["time 1", "time 2", "time 3"]),
        ("NominalPercentageOfCardiacPhase", [0, 40, 80], ["phase 0", "phase 40", "phase 80"]),
        ("TriggerTime", [0, 300, 600], ["phase 0", "phase 300", "phase 600"]),
        ("AcquisitionNumber", [4, 5, 6], ["acquisition 4", "acquisition 5", "acquisition 6"]),
        ("ConvolutionKernel", ["B", "H", "S"], ["kernel B", "kernel H", "kernel S"]),
        (
            "ImageType",
            [["ORIGINAL", "PRIMARY", kind] for kind in ("I", "M", "P")],
            ["image type I", "image type M", "image type P"],
        ),
    ],
)
def test_a_trait_parts_slices_that_lie_together(
    write_series: Write, keyword: str, values: list[Any], names: list[str]
) -> None:
    folder = write_series(ARRAY, together(4), each=lambda index: {keyword: values[index // 4]})[
        0
    ].parent
    assert labels(folder) == {
        name: [4 * number, 4 * number + 1, 4 * number + 2, 4 * number + 3]
        for number, name in enumerate(names)
    }


def test_b_0_once_and_b_1000_in_three_directions(write_series: Write) -> None:
    directions = [None, [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]

    def each(index: int) -> dict[str, Any]:
        kind = index // 3
        return {
            "DiffusionBValue": 1000.0 if kind else 0.0,
            **({"DiffusionGradientOrientation": directions[kind]} if kind else {}),
        }

    folder = write_series(ARRAY, together(3), each=each)[0].parent
    assert labels(folder) == {
        "b 0": [0, 1, 2],
        "b 1000, direction 0/0/1": [9, 10, 11],
        "b 1000, direction 0/1/0": [6, 7, 8],
        "b 1000, direction 1/0/0": [3, 4, 5],
    }


@pytest.mark.parametrize(
    ("group", "creator", "element", "vr", "values", "names"),
    [
        (0x19, "SIEMENS MR HEADER", 0x0C, "IS", [50, 800], ["b 50", "b 800"]),
        (0x43, "GEMS_PARM_01", 0x39, "IS", [[10**9 + 50, 8], [10**9 + 800, 8]], ["b 50", "b 800"]),
        (0x2001, "Philips Imaging DD 001", 0x03, "FL", [50.0, 800.0], ["b 50", "b 800"]),
        (0x2001, "Philips Imaging DD 001", 0x08, "IS", [1, 2], ["time 1", "time 2"]),
        (
            0x2005,
            "Philips MR Imaging DD 001",
            0x11,
            "CS",
            ["M", "P"],
            ["component M", "component P"],
        ),
        (0x43, "GEMS_PARM_01", 0x2F, "SS", [0, 1], ["image type None/0", "image type None/1"]),
    ],
)
def test_private_traits_of_makers(
    write_series: Write,
    group: int,
    creator: str,
    element: int,
    vr: str,
    values: list[Any],
    names: list[str],
) -> None:
    paths = write_series(ARRAY, together(6))
    for path in paths:
        dataset = pydicom.dcmread(path)
        number = 100 - dataset.InstanceNumber
        block = dataset.private_block(group, creator, create=True)
        block.add_new(element, vr, values[number // 6])
        dataset.save_as(path)
    found = labels(paths[0].parent)
    assert list(found.values()) == [list(range(6)), list(range(6, 12))]
    assert [name.replace("image type /", "image type None/") for name in found] == names


def test_a_trait_that_counts_slices_parts_nothing(write_series: Write) -> None:
    folder = write_series(
        ARRAY,
        together(6),
        each=lambda index: {"AcquisitionNumber": index, "InstanceNumber": index},
    )[0].parent
    assert labels(folder) == {"time 1": list(range(6)), "time 2": list(range(6, 12))}


def test_order_in_time_parts_what_nothing_else_does(write_series: Write) -> None:
    # Numbered by place first: slices 0 and 1 lie at the first place, one after the other.
    positions = [(10.0, 20.0, 30.0 + 4 * (index // 2)) for index in range(12)]
    folder = write_series(ARRAY, positions, each=lambda i: {"InstanceNumber": i})[0].parent
    assert labels(folder) == {"time 1": [0, 2, 4, 6, 8, 10], "time 2": [1, 3, 5, 7, 9, 11]}


def test_cine_is_ordered_by_trigger_time(write_series: Write) -> None:
    # Each slice has trigger times of its own; the later phase is numbered first.
    def each(index: int) -> dict[str, Any]:
        return {"TriggerTime": (500 if index < 6 else 0) + index, "InstanceNumber": index}

    folder = write_series(ARRAY, together(6), each=each)[0].parent
    assert labels(folder) == {"time 1": list(range(6, 12)), "time 2": list(range(6))}


def test_orientations_are_parted(write_series: Write) -> None:
    def each(index: int) -> dict[str, Any]:
        upright = index < 5
        return {
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0] if upright else [0, 1, 0, 0, 0, -1],
            "ImagePositionPatient": [1, 2, 4 * index] if upright else [4 * index, 2, 3],
        }

    folder = write_series(ARRAY, each=each)[0].parent
    # The normal of the second stack, row x column, points to the right: its order is reversed.
    assert labels(folder) == {"axial": list(range(5)), "sagittal": list(range(11, 4, -1))}


def test_two_stacks_of_one_plane_are_numbered(write_series: Write) -> None:
    def each(index: int) -> dict[str, Any]:
        angle = 0.3 * (index // 6)
        row = [float(np.cos(angle)), float(np.sin(angle)), 0.0]
        column = [-row[1], row[0], 0.0]
        return {"ImageOrientationPatient": row + column}

    folder = write_series(ARRAY, each=each)[0].parent
    assert list(labels(folder)) == ["axial 1", "axial 2"]


def test_a_different_direction_for_every_slice_is_no_volume(write_series: Write) -> None:
    def each(index: int) -> dict[str, Any]:
        angle = 0.2 * index
        row = [float(np.cos(angle)), float(np.sin(angle)), 0.0]
        return {"ImageOrientationPatient": [*row, 0, 0, -1]}

    (series,) = dicom.scan_tree(write_series(ARRAY, each=each)[0].parent).series
    (stack,) = dicom.split(series)
    with pytest.raises(DataError, match="slices must share an orientation, as those of a locali"):
        dicom.load(stack)


def test_acquisitions_that_interleave_unevenly(write_series: Write) -> None:
    # Two scans of one body, the second shifted by 1 mm: together no spacing is even.
    positions = [(10.0, 20.0, 4.0 * (index % 6) + (index >= 6)) for index in range(12)]
    folder = write_series(
        ARRAY, positions, each=lambda index: {"AcquisitionNumber": 1 + (index >= 6)}
    )[0].parent
    assert labels(folder) == {"acquisition 1": list(range(6)), "acquisition 2": list(range(6, 12))}


def test_acquisitions_that_continue_each_other_stay_together(write_series: Write) -> None:
    folder = write_series(ARRAY, each=lambda index: {"AcquisitionNumber": 1 + (index >= 6)})[0]
    assert labels(folder.parent) == {"": list(range(12))}


def test_pictures_without_a_place_are_volumes_of_their_own(write_series: Write) -> None:
    folder = write_series(
        ARRAY[:2],
        Modality="DX",
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        each=lambda index: {"InstanceNumber": index},
    )[0].parent
    assert labels(folder) == {"image 1": [0], "image 2": [1]}


def test_files_without_pixels_are_left_out(write_series: Write) -> None:
    folder = write_series(ARRAY)[0].parent
    write_series(ARRAY[:1], PixelData=None, folder="scan/report")
    (stack,) = dicom.split(dicom.scan_tree(folder).series[0])
    assert stack.decisions == ("files without pixels left out: 1",)
    assert len(stack.frames) == 12


def test_a_scout_among_the_slices_is_left_out(write_series: Write) -> None:
    folder = write_series(ARRAY)[0].parent
    write_series(
        ARRAY[:1, :, ::2],
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        folder="scan/scout",
    )
    (stack,) = dicom.split(dicom.scan_tree(folder).series[0])
    assert stack.decisions == ("localizers left out: 1",)
    assert np.array_equal(dicom.load(stack).volume.array, ARRAY)


NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, 4.0, 8.0, 8.001, 1e300, float("inf"), float("nan"), -4.0]),
    st.floats(-500, 500),
)
FRAMES = st.fixed_dictionaries(
    {
        "position": st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
        "orientation": st.sampled_from(
            [None, (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0, 0, 0, 0, 0, 0), (1, 0, 0, 1, 0, 0)]
        ),
        "spacing": st.sampled_from([None, (1.0, 1.0), (0.5, 0.5), (0.0, 1.0), (float("nan"), 1)]),
        "traits": st.dictionaries(
            st.sampled_from(TRAITS), st.tuples(st.sampled_from([1.0, 2.0, float("nan")]))
        ),
    }
)


@settings(max_examples=100, deadline=None)
@given(st.lists(FRAMES, min_size=1, max_size=12), st.sampled_from(["CT", "DX", "SEG"]))
def test_any_slices_make_volumes_or_are_refused(kinds: list[dict[str, Any]], modality: str) -> None:
    sheets = []
    for number, kind in enumerate(kinds):
        header = Header(
            path=Path(str(number)), series_uid="1", instance_uid=str(number), modality=modality,
            number=1, instance=number, description="", image_type=(), rows=4, columns=4, frames=1,
            samples=1, photometric="MONOCHROME2", allocated=8, stored=8, high=7, signed=False,
            syntax="", pixels=None, has_lut=False, has_groups=False,
        )  # fmt: skip
        frame = Frame(header=header, index=0, box=None, slope=1, intercept=0, unit="",
                      thickness_mm=None, **kind)  # fmt: skip
        sheets.append(frame)
    stacks = dicom.split(Series(tuple(sheets)))
    # Every slice is in exactly one volume.
    numbers = sorted(frame.header.instance for stack in stacks for frame in stack.frames)
    assert numbers == list(range(len(kinds)))
    for stack in stacks:
        try:
            placed = place(stack.frames, "it", allow_gaps=True)
        except DataError:
            continue
        assert sorted(map(id, placed.frames)) == sorted(map(id, stack.frames))
        if placed.correction is None and all(frame.is_placed for frame in placed.frames):
            # Each slice's first pixel is where its header says, within rounding of the steps.
            for index, frame in enumerate(placed.frames):
                assert frame.position is not None
                found = (placed.affine @ [index, 0, 0, 1])[:3]
                step = np.linalg.norm(placed.affine[:3, 0])
                assert np.linalg.norm(found - frame.position) <= 0.05 * step * len(placed.frames)


def turned(degrees: float) -> list[float]:
    """Rows and columns of an axial slice, turned about the axis of its rows."""
    angle = np.radians(degrees)
    return [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]


ACROSS = [0, 1, 0, 0, 0, -1]


@pytest.mark.parametrize("index", [0, 5, 11])
@pytest.mark.parametrize(
    ("elements", "is_scout"),
    [
        ({"ImageOrientationPatient": ACROSS}, True),
        ({"ImageOrientationPatient": turned(75)}, True),
        ({"ImageOrientationPatient": turned(30), "ImagePositionPatient": [10, 20, 400]}, True),
        ({"ImageOrientationPatient": turned(30), "ImagePositionPatient": [90, 20, 50]}, True),
        ({"ImageOrientationPatient": turned(30), "PixelSpacing": [1, 1]}, True),
        ({"ImageOrientationPatient": turned(30), "Rows": 2, "PixelData": bytes(20)}, True),
        ({"ImageOrientationPatient": turned(30)}, False),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, False),  # seen from the other side
        ({"ImageOrientationPatient": [0] * 6}, False),
        ({"ImageOrientationPatient": None}, False),
    ],
)
def test_a_lone_slice_is_a_scout_or_one_that_the_volume_lacks(
    write_series: Write, index: int, elements: dict[str, Any], is_scout: bool
) -> None:
    folder = write_series(ARRAY, each=lambda i: elements if i == index else {})[0].parent
    stacks = dicom.split(dicom.scan_tree(folder).series[0])
    if is_scout:
        whole, lone = sorted(stacks, key=lambda stack: -len(stack.frames))
        assert (len(whole.frames), len(lone.frames)) == (11, 1)
        assert whole.refusal is None
        assert "taken for a scout" in (lone.refusal or "")
    else:
        (stack,) = stacks
        assert len(stack.frames) == 12
        assert re.search("must share an orientation; .* 11 others have .* out", stack.refusal or "")


def test_a_capture_of_another_modality_among_slices_is_no_volume(write_series: Write) -> None:
    path = write_series(ARRAY)[0]
    shot = pydicom.dcmread(path)
    shot.SOPClassUID, shot.Modality = "1.2.840.10008.5.1.4.1.1.7", "OT"
    shot.SOPInstanceUID = "1.2.3.99"
    del shot.ImagePositionPatient, shot.ImageOrientationPatient
    shot.save_as(path.parent / "shot")
    refusals = {
        stack.series.modality: stack.refusal
        for stack in dicom.split_all(dicom.scan_tree(path.parent).series)
    }
    assert refusals["CT"] is None
    assert "secondary capture without a place" in (refusals["OT"] or "")


@pytest.mark.parametrize(
    ("patient", "number", "start"),
    [
        ("0012345", 12345, "CT-x-"),
        ("12", 12, "CT-12-"),
        ("0007", 7, "CT-7-"),
        ("12345", 1234, "CT-1234-"),
    ],
)
def test_a_series_number_that_is_the_patients_is_not_written(
    write_series: Write, tmp_path: Path, patient: str, number: int, start: str
) -> None:
    folder = write_series(ARRAY, PatientID=patient, SeriesNumber=number)[0].parent
    (entry,) = convert_tree(folder, tmp_path / "out")["series"]
    assert entry["file"].startswith(start)
    assert entry["number"] == (None if start == "CT-x-" else number)
