"""Structure sets that cannot be used: one line, and nothing is written; damage never crashes."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil

import numpy as np
import pydicom
import pytest

from tfseg.cli.main import run
from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom_out import rtstruct_read, solid
from tfseg.io.dicom_out.rtstruct import write_rtstruct
from tfseg.io.dicom_out.rtstruct_read import read_rtstruct
from tfseg.io.dicom_out.sources import read_source


@pytest.fixture
def root(write_scan, tmp_path, about, stamp):
    """A data set of one case, whose label is a structure set."""
    scan = write_scan((5, 12, 14), name="images")
    (tmp_path / "set/labels").mkdir(parents=True)
    (tmp_path / "set/images").mkdir()
    shutil.move(scan, tmp_path / "set/images/one")
    scan = tmp_path / "set/images/one"
    volume = read_volume(scan)
    array = np.zeros(volume.shape, np.uint8)
    array[1:4, 2:8, 3:9] = 1
    array[2, 9:11, 10:12] = 2
    about = dataclasses.replace(about, names=about.names[:3], colours=about.colours[:3])
    write_rtstruct(volume.with_array(array), read_source(scan), tmp_path / "set/labels/one.dcm",
                   about, stamp)  # fmt: skip
    return tmp_path / "set"


def first(dataset):
    return dataset.ROIContourSequence[0].ContourSequence[0]


def points(dataset, change):
    contour = first(dataset)
    contour.ContourData = change([float(number) for number in contour.ContourData])


def shifted(dataset, axis, mm):
    for roi in dataset.ROIContourSequence:
        for contour in roi.get("ContourSequence", ()):
            numbers = np.array(contour.ContourData, float).reshape(-1, 3)
            numbers[:, axis] += mm
            contour.ContourData = list(np.round(numbers, 3).ravel())


def bent(numbers):
    return [number + (5 * (index % 6 == 2)) for index, number in enumerate(numbers)]


def raw(dataset, value):
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag("ContourData")
    first(dataset)[tag] = RawDataElement(tag, "DS", len(value), value, 0, True, True)


BROKEN = {
    # name: (what is done to the file, what the line says)
    "no structures": (lambda d: delattr(d, "StructureSetROISequence"), "1 to 4096 structures"),
    "two numbers left over": (lambda d: points(d, lambda n: n[:-1]), "triplets of numbers"),
    "words": (lambda d: raw(d, b"1\\2\\three "), "must be numbers"),
    "a number without end": (lambda d: raw(d, b"1" * 100 + b"\\2\\3 "), "triplets of numbers"),
    "not a number": (lambda d: raw(d, b"nan\\1\\2 "), "finite and at most 1e+06 mm; got nan"),
    "infinite": (lambda d: raw(d, b"1\\inf\\2 "), "finite and at most 1e+06 mm; got inf"),
    "a coordinate far off": (
        lambda d: raw(d, b"1e9\\1\\2 "), "finite and at most 1e+06 mm; got 1e+09",
    ),
    "not in planes": (lambda d: points(d, bent), "must lie in parallel planes, within 0.2 mm"),
    "another place": (lambda d: shifted(d, 0, 900), "a contour must lie within the image"),
    "above the image": (lambda d: shifted(d, 2, 900), "a contour must lie within the image"),
    "no number": (lambda d: delattr(d.StructureSetROISequence[0], "ROINumber"), "is damaged"),
    "another kind": (
        lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.481.5"),
        "an RT Structure Set is needed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_bad_input_is_one_line_and_writes_nothing(root, tmp_path, capfd, case):
    damage, rule = BROKEN[case]
    path = root / "labels/one.dcm"
    dataset = pydicom.dcmread(path)
    damage(dataset)
    dataset.save_as(path)
    plan = tmp_path / "plan.json"
    assert run(["plan", str(root), "-o", str(plan)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert rule in line
    assert "one.dcm" in line
    assert not plan.exists()


@pytest.mark.parametrize(
    ("module", "limit", "value", "rule"),
    [
        (rtstruct_read, "_MOST_BYTES", 1000, "at most 1000 bytes; got"),
        (rtstruct_read, "_MOST_POINTS", 10, "at most 10 points"),
        (rtstruct_read, "_MOST_STRUCTURES", 1, "1 to 1 structures; got 2"),
        (solid, "_SPARE_PIXELS", 20 - 64 * 840, "may cover 20 pixels of the image together"),
        (solid, "_MOST_CROSSINGS", 10, "cross 10 of its rows"),
    ],
)
def test_files_have_limits(root, monkeypatch, module, limit, value, rule):
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(DataError, match=rule):
        read_rtstruct(root / "labels/one.dcm", read_volume(root / "images/one"))


def mutations(data, count, seed):
    """Yield damaged copies: bytes changed, cut out, doubled, the end cut off."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            place = int(rng.integers(132, len(changed)))
            kind = rng.integers(5)
            if kind == 0:
                changed[place] = int(rng.integers(256))
            elif kind == 1:
                changed[place : place + 4] = rng.bytes(4)
            elif kind == 2:
                del changed[place : place + int(rng.integers(1, 40))]
            elif kind == 3:
                changed[place:place] = changed[max(132, place - 60) : place]
            else:
                del changed[max(place, 200) :]
            if len(changed) < 200:
                break
        yield bytes(changed)


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_files_give_structures_or_one_line(root, tmp_path, count):
    grid = read_volume(root / "images/one")
    whole = (root / "labels/one.dcm").read_bytes()
    path = tmp_path / "damaged.dcm"
    outcomes = {"read": 0, "refused": 0}
    for data in mutations(whole, count, seed=count):
        path.write_bytes(data)
        outcome = "read"
        with contextlib.suppress(DataError):  # any other exception fails the test
            outcome = "refused"
            labels, _, _ = read_rtstruct(path, grid)
            assert labels.shape == grid.shape
            outcome = "read"
        outcomes[outcome] += 1
    assert min(outcomes.values()) > count // 20


@pytest.mark.parametrize("data", [b"", b"nothing", b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_is_refused(write_scan, tmp_path, data):
    path = tmp_path / "rt.dcm"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"rt\.dcm: an RT Structure Set is needed|is damaged"):
        read_rtstruct(path, read_volume(write_scan()))
