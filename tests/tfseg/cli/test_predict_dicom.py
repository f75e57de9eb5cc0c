"""``tfseg predict`` with results in DICOM, by a model whose answer is known."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tfseg.artifact import Manifest
from tfseg.cli.main import run
from tfseg.cli.predict import predict as command
from tfseg.datasets.phantom.series import write_ct_series
from tfseg.inference.prediction import Prediction
from tfseg.inference.predictor import Predictor
from tfseg.io import read_volume, write_volume
from tfseg.io.dicom_out import SEG_TYPES
from tfseg.io.dicom_out.seg_read import read_seg
from tfseg.io.outputs import FORMATS
from tfseg.plan import Channel, Plan, Scale
from tfseg.volume import Volume

NAMES = ("background", "liver", "odd one")


class Thresholds:
    """Stands in for a predictor: above 50 liver, above 150 the other."""

    finds_instances = False
    post = remarks = ()

    def __init__(self) -> None:
        self.manifest = Manifest(
            format="run",
            model="unet3d",
            plan=Plan(
                dims=3,
                spacing_mm=None,
                patch_size=(8, 8, 8),
                batch_size=1,
                channels=(Channel(name="ct", normalisation=Scale(scale=100)),),
                labels=NAMES,
            ),
        )

    def refine(self, **options):
        return self

    def predict(self, volume, progress=None, *, probabilities=False, instances=False):
        labels = volume.with_array(np.digitize(volume.array, (50, 150)).astype(np.uint8))
        return Prediction(labels, np.eye(3, dtype=np.float32)[labels.array])


@pytest.fixture(autouse=True)
def model(monkeypatch):
    monkeypatch.setattr(Predictor, "open", classmethod(lambda cls, model: Thresholds()))


@pytest.fixture
def scan(tmp_path):
    voxels = np.random.default_rng(0).integers(-100, 250, (5, 9, 10)).astype(np.int16)
    write_ct_series(Volume.from_geometry(voxels, (3, 0.8, 0.8), (1, 2, 3)), tmp_path / "ct", "a")
    return tmp_path / "ct"


def change(folder, **elements):
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


@pytest.fixture
def archive(tmp_path):
    """Two patients' CT, an MR and a localizer below one folder."""
    rng = np.random.default_rng(0)
    for name, slices in (("DOE^JOHN", 5), ("ROE^JANE", 4), ("mr", 5), ("scout", 1)):
        voxels = rng.integers(-100, 250, (slices, 9, 10)).astype(np.int16)
        volume = Volume.from_geometry(voxels, (3, 0.8, 0.8), (1, 2, 3))
        write_ct_series(volume, tmp_path / "all" / name, name)
    change(tmp_path / "all/mr", Modality="MR")
    return tmp_path / "all"


def test_each_series_that_fits_is_segmented(archive, tmp_path, capsys):
    assert predict(archive, "-o", tmp_path / "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == []
    for entry in document["written"]:
        name = Path(entry["output"]).name
        assert re.fullmatch(r"[0-9a-f]{8}_CT-\d+-[0-9a-f]{8}\.nii\.gz", name)
        assert entry["volumes_ml"]["liver"] > 0
    shapes = {read_volume(path).shape for path in (tmp_path / "out").iterdir()}
    assert shapes == {(5, 9, 10), (4, 9, 10)}
    assert len(document["written"]) == 2
    left = sorted(document["left_out"], key=lambda entry: entry["reason"])
    assert [entry["reason"] for entry in left] == [
        "it is MR, the training images are CT",
        "it is a single slice, the network takes volumes",
    ]
    assert re.fullmatch(r"[0-9a-f]{8}_MR-\d+-[0-9a-f]{8}", left[0]["series"])
    assert "DOE" not in json.dumps([left, [Path(e["output"]).name for e in document["written"]]])


def test_a_capture_in_the_folder_of_a_series_is_left_out(scan, tmp_path, capsys):
    shot = pydicom.dcmread(next(scan.iterdir()))
    shot.SOPClassUID, shot.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.99"
    shot.SeriesInstanceUID, shot.SeriesNumber = "1.2.3.9", 99
    del shot.ImagePositionPatient, shot.ImageOrientationPatient
    shot.save_as(scan / "shot")
    assert predict(scan, "-o", tmp_path / "out.nii.gz", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert read_volume(document["written"][0]["output"]).shape == (5, 9, 10)
    ((series, reason),) = (entry.values() for entry in document["left_out"])
    assert "_CT-99-" in series
    assert "secondary capture without a place" in reason


def test_what_was_left_out_is_told_in_a_table(archive, tmp_path, capsys):
    assert predict(archive, "-o", tmp_path / "out", "--format", "dicom-seg") == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "Left out" in table
    assert "_MR-1-" in table
    assert len(list((tmp_path / "out").glob("*_CT-*.dcm"))) == 2
    # A zip of them is the same.
    shutil.make_archive(str(tmp_path / "zip"), "zip", archive)
    assert predict(tmp_path / "zip.zip", "-o", tmp_path / "again") == 0
    assert len(list((tmp_path / "again").glob("*_CT-*.nii.gz"))) == 2


def test_dicom_beside_other_files_is_told(archive, tmp_path, capsys):
    (tmp_path / "mixed").mkdir()
    shutil.copy(next((archive / "DOE^JOHN").iterdir()), tmp_path / "mixed" / "slice")
    volume = Volume.from_geometry(np.zeros((4, 4, 4), np.float32))
    write_volume(volume, tmp_path / "mixed" / "a.nii.gz")
    assert predict(tmp_path / "mixed", "-o", tmp_path / "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["series"] for entry in document["left_out"]] == ["slice"]
    assert "DICOM beside volume files" in document["left_out"][0]["reason"]
    assert len(document["written"]) == 1


def test_bad_input_several_series(archive, tmp_path, capsys):
    assert predict(archive, "-o", tmp_path / "one.nii.gz") == 2
    assert "one output file takes one scan; 4 were given" in capsys.readouterr().err
    for name in ("DOE^JOHN", "ROE^JANE"):
        change(archive / name, Modality="MR")
    assert predict(archive, "-o", tmp_path / "out") == 2
    assert "none of 4 series was segmented; the last, " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def predict(*arguments):
    return run(["predict", "model", *map(str, arguments)])


def test_the_choices_are_those_that_are_written():
    choices = {option.name: option.type for option in command.params}
    assert tuple(choices["format_name"].choices) == tuple(FORMATS)
    assert tuple(choices["seg_type"].choices) == SEG_TYPES


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap"])
def test_a_seg_holds_what_was_predicted(scan, tmp_path, kind, capsys):
    out = tmp_path / "out/result.dcm"
    assert predict(scan, "-o", out, "--format", "dicom-seg", "--seg-type", kind) == 0
    image = read_volume(scan)
    back, names, _ = read_seg(out, image)
    np.testing.assert_array_equal(back.array, np.digitize(image.array, (50, 150)))
    assert names == {1: "liver", 2: "odd one"}
    assert pydicom.dcmread(out).SegmentationType == kind.upper()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_a_folder_takes_the_scans_name(scan, tmp_path):
    assert predict(scan, "-o", tmp_path / "out", "--format", "dicom-seg") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ct.dcm"]


def test_codes_come_from_a_file(scan, tmp_path):
    codes = {"odd one": {"type": ["99X", "99TEST", "Odd"], "category": ["49755003", "SCT", "Bad"]}}
    (tmp_path / "codes.json").write_text(json.dumps(codes))
    out = tmp_path / "o.dcm"
    arguments = ("--format", "dicom-seg", "--codes", tmp_path / "codes.json")
    assert predict(scan, "-o", out, *arguments) == 0
    liver, odd = pydicom.dcmread(out).SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    assert odd.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99TEST"
    assert odd.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Bad"


def test_a_structure_set_is_written(scan, tmp_path):
    assert predict(scan, "-o", tmp_path / "o.dcm", "--format", "rtstruct") == 0
    assert pydicom.dcmread(tmp_path / "o.dcm").Modality == "RTSTRUCT"


def test_a_report_is_written_beside(scan, tmp_path, capsys):
    arguments = ("--format", "dicom-seg", "--report", "--json")
    assert predict(scan, "-o", tmp_path / "out", *arguments) == 0
    (entry,) = json.loads(capsys.readouterr().out)["written"]
    assert entry["report"] == str(tmp_path / "out/ct_report.dcm")
    assert pydicom.dcmread(entry["report"]).Modality == "SR"


def test_a_tilted_scan_says_that_its_labels_went_back(scan, tmp_path, caplog):
    for index, path in enumerate(sorted(scan.iterdir())):
        dataset = pydicom.dcmread(path)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y + index * 0.8, z]
        dataset.save_as(path)
    assert predict(scan, "-o", tmp_path / "o.dcm", "--format", "dicom-seg") == 0
    assert any("on the 5 slices of the series, by nearest" in text for text in caplog.messages)
    made = pydicom.dcmread(tmp_path / "o.dcm")
    assert (made.Rows, made.Columns) == (9, 10)


def codes_file(content):
    def write(tmp_path):
        (tmp_path / "codes.json").write_text(content)

    return write


def nifti(tmp_path):
    write_volume(Volume(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")


def without(keyword):
    def write(tmp_path):
        for path in (tmp_path / "ct").iterdir():
            dataset = pydicom.dcmread(path)
            delattr(dataset, keyword)
            dataset.save_as(path)

    return write


SEG = ("--format", "dicom-seg")
BAD = {
    "no DICOM": (nifti, ("scan.nii.gz", *SEG), "refers to the DICOM series of the scan: .*scan"),
    "type without SEG": (None, ("ct", "--seg-type", "labelmap"), "--seg-type belongs to --format"),
    "type of contours": (
        None, ("ct", "--format", "rtstruct", "--seg-type", "binary"), "dicom-seg; got rtstruct"),
    "report without SEG": (None, ("ct", "--report"), "--report belongs to --format dicom-seg"),
    "codes without DICOM": (None, ("ct", "--codes", "codes.json"), "--codes belongs to --format"),
    "no codes file": (None, ("ct", *SEG, "--codes", "codes.json"), "table of codes is missing"),
    "codes no JSON": (codes_file("{"), ("ct", *SEG, "--codes", "codes.json"), "not valid JSON"),
    "codes no object": (codes_file("[]"), ("ct", *SEG, "--codes", "codes.json"), r"names; got \["),
    "code without type": (
        codes_file('{"liver": {"category": ["1", "SCT", "x"]}}'),
        ("ct", *SEG, "--codes", "codes.json"), "'liver': an entry has a type"),
    "code too long": (
        codes_file('{"liver": {"type": ["12345678901234567", "SCT", "Liver"]}}'),
        ("ct", *SEG, "--codes", "codes.json"), "at most 16, 16 and 64 characters; got"),
    "code not text": (
        codes_file('{"liver": {"type": [10200004, "SCT", "Liver"]}}'),
        ("ct", *SEG, "--codes", "codes.json"), r"'liver', type: a code is \[value, scheme"),
    "suffix": (None, ("ct", *SEG, "-o", "out/x.nii.gz"), r"written as \.dcm|must end in \.dcm"),
    "no identifier": (
        without("StudyInstanceUID"), ("ct", *SEG), "has no StudyInstanceUID of digits and dots"),
    "unknown type": (None, ("ct", *SEG, "--seg-type", "mask"), "'mask' is not one of"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_writes_nothing(scan, tmp_path, monkeypatch, capfd, name):
    prepare, arguments, rule = BAD[name]
    monkeypatch.chdir(tmp_path)
    if prepare is not None:
        prepare(tmp_path)
    before = sorted(Path().rglob("*"))
    target = () if "-o" in arguments else ("-o", "out")
    assert predict(*arguments, *target) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(rule, line), line
    assert sorted(Path().rglob("*")) == before


def test_bad_input_dcm_needs_a_format(scan, tmp_path, capfd):
    assert predict(scan, "-o", tmp_path / "o.dcm") == 2
    assert "or a --format that writes DICOM" in capfd.readouterr().err
    assert not (tmp_path / "o.dcm").exists()


def test_bad_input_a_report_in_the_place_of_a_result(scan, tmp_path, capfd):
    scan.rename(tmp_path / "a")
    write_ct_series(Volume.from_geometry(np.zeros((2, 4, 4), np.int16)), tmp_path / "a_report", "b")
    arguments = (tmp_path / "a", tmp_path / "a_report", "-o", tmp_path / "out", *SEG, "--report")
    assert predict(*arguments) == 2
    assert "a report would replace another scan's result" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
