"""``query`` from a DICOM series to DICOM results that refer to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tfseg.artifact import Manifest
from tfseg.cli.main import run
from tfseg.io import write_volume
from tfseg.plan import Plan
from tfseg.volume import Volume

LABELS = ("background", "liver", "lesion")
CHANNEL = {"name": "CT", "unit": "HU", "normalisation": {"kind": "scale"}}


@pytest.fixture
def series(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A CT series of 5 slices, and its voxels (z, y, x)."""
    voxels = np.random.default_rng(3).integers(0, 300, (5, 6, 7)).astype(np.int16)
    folder = tmp_path / "ct"
    folder.mkdir()
    for index, plane in enumerate(voxels):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CTImageStorage
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{index + 1}"
        one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        one.FrameOfReferenceUID, one.Modality, one.SeriesNumber = "1.2.9", "CT", 2
        one.PatientName, one.PatientID = "Test^Only", "id-7"
        one.InstanceNumber = index + 1
        one.ImagePositionPatient = [10, 20, 30 + 4 * index]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness = [0.5, 0.75], 4
        one.Rows, one.Columns = plane.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.RescaleSlope, one.RescaleIntercept = 1, 0
        one.PixelData = plane.tobytes()
        one.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder, voxels


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    plan = Plan(
        dims=3, spacing_mm=None, patch_size=(4, 4, 4), batch_size=1, channels=[CHANNEL],
        labels=LABELS,
    )  # fmt: skip
    Manifest(format="savedmodel", model="unet", plan=plan, parity={"passed": True}).save(tmp_path)
    return tmp_path / "tfseg.json"


def _query(zoo, scan: Path, out: Path, *options: str) -> int:
    arguments = ["query", str(scan), "-o", str(out), "--url", zoo.grpc_url, "--name", "zoo"]
    return run([*arguments, *options])


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_a_segmentation_of_the_series(zoo, series, manifest: Path, tmp_path, kind: str) -> None:
    folder, voxels = series
    out = tmp_path / "seg.dcm"
    options = ("--format", "dicom-seg", "--seg-type", kind, "--manifest", str(manifest))
    assert _query(zoo, folder, out, *options) == 0
    found = pydicom.dcmread(out)
    assert (found.Modality, found.PatientID, found.StudyInstanceUID) == ("SEG", "id-7", "1.2.3")
    names = {one.SegmentNumber: one.SegmentLabel for one in found.SegmentSequence}
    assert {value: name for value, name in names.items() if value} == {1: "liver", 2: "lesion"}
    counts = [
        int(((voxels > low) & (voxels <= high)).sum()) for low, high in ((100, 200), (200, 300))
    ]
    frames = found.pixel_array.reshape(-1, 6, 7)
    if kind == "labelmap":
        assert [int((frames == value).sum()) for value in (1, 2)] == counts
        return
    totals = {1: 0, 2: 0}
    for frame, about in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        number = about.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        totals[number] += int(frame.sum())
        position = about.PlanePositionSequence[0].ImagePositionPatient
        plane = voxels[round((position[2] - 30) / 4)]
        np.testing.assert_array_equal(
            frame == 1, (plane > 100 * number) & (plane <= 100 * number + 100)
        )
    assert list(totals.values()) == counts


def test_a_structure_set_of_the_series(zoo, series, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _query(zoo, series[0], out, "--format", "rtstruct", "--manifest", str(manifest)) == 0
    found = pydicom.dcmread(out / "ct.dcm")
    assert found.Modality == "RTSTRUCT"
    assert [one.ROIName for one in found.StructureSetROISequence] == ["liver", "lesion"]


def test_a_report_beside_the_segmentation(zoo, series, manifest: Path, tmp_path, capsys) -> None:
    folder, voxels = series
    out = tmp_path / "seg.dcm"
    options = ("--format", "dicom-seg", "--report", "--manifest", str(manifest), "--json")
    assert _query(zoo, folder, out, *options) == 0
    (written,) = json.loads(capsys.readouterr().out)["written"]
    assert written["files"] == [str(out), str(tmp_path / "seg_report.dcm")]
    assert [one["name"] for one in written["labels"]] == ["liver", "lesion"]
    report = pydicom.dcmread(written["files"][1])
    assert (report.Modality, report.PatientID) == ("SR", "id-7")
    told = {
        round(float(one.MeasuredValueSequence[0].NumericValue), 3)
        for one in _items(report)
        if "MeasuredValueSequence" in one
    }
    assert told >= {round(int((voxels > 200).sum()) * 0.5 * 0.75 * 4 / 1000, 3)}


def _items(node: Dataset) -> Iterator[Dataset]:
    for one in node.get("ContentSequence", ()):
        yield one
        yield from _items(one)


SEG = ("--format", "dicom-seg")
BAD: dict[str, tuple[tuple[str, ...], str, str]] = {
    "no names": (SEG, "--format dicom-seg names every label", "--manifest"),
    "no DICOM": ((*SEG, "--manifest", "{manifest}"), "refers to the DICOM series", "scan.nii.gz"),
    "a SEG type of NIfTI": (("--seg-type", "binary"), "--seg-type belongs to", "no format"),
    "a report of NIfTI": (("--report",), "--report belongs to", "no format"),
    "codes of NIfTI": (("--codes", "x.json"), "--codes belongs to", "no format"),
    "codes absent": ((*SEG, "--codes", "/no.json"), "the table of codes", "/no.json"),
    "format unknown": (("--format", "stl"), "is not one of", "stl"),
    "too few names": (("--manifest", "{few}"), "it names 2 labels", "the value 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_of_formats(zoo, manifest: Path, tmp_path: Path, capsys, case: str) -> None:
    options, rule, value = BAD[case]
    scan = tmp_path / "scan.nii.gz"
    voxels = np.arange(0, 300, 5, np.int16).reshape(3, 4, 5)
    write_volume(Volume.from_geometry(voxels), scan)
    few = Manifest.load(tmp_path)
    few = few.model_copy(update={"plan": few.plan.model_copy(update={"labels": LABELS[:2]})})
    few.save(tmp_path, "few.json")
    before = sorted(tmp_path.iterdir())
    paths = {"manifest": str(manifest), "few": str(tmp_path / "few.json")}
    chosen = [option.format(**paths) for option in options]
    suffix = ".dcm" if "dicom-seg" in chosen else ".nii.gz"
    assert _query(zoo, scan, tmp_path / f"seg{suffix}", *chosen) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert rule in line
    assert value in line
    assert sorted(tmp_path.iterdir()) == before
