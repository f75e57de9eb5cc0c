"""Structured reports: what they say of a Segmentation, as highdicom and pydicom read them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from pydicom.sr.codedict import codes

from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom_out.rtstruct import write_rtstruct
from tfseg.io.dicom_out.seg import write_seg
from tfseg.io.dicom_out.sources import read_source
from tfseg.io.dicom_out.sr import measured, write_report
from tfseg.io.outputs import Output, source_for, write_labels
from tfseg.io.scans import Scan
from tfseg.volume import Volume


@pytest.fixture
def reported(write_scan, tmp_path, about, stamp):
    """Write a SEG and its report; returns scan, labels, SEG and the file of the report."""

    def call(kind="binary", with_scan=True, **more):
        folder = write_scan(**more)
        scan, source = read_volume(folder), read_source(folder)
        array = np.random.default_rng(0).integers(0, 3, scan.shape).astype(np.uint8)
        labels = scan.with_array(array)
        segmentation = write_seg(labels, source, tmp_path / "seg.dcm", about, stamp, kind=kind)
        target = tmp_path / "sr.dcm"
        write_report(
            labels, source, segmentation, target, about, stamp, scan if with_scan else None
        )
        return scan, labels, segmentation, target

    return call


def groups_of(path):
    return srread(path).content.get_volumetric_roi_measurement_groups()


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_volumes_and_means_are_those_of_the_voxels(reported, kind):
    scan, labels, segmentation, path = reported(kind)
    groups = groups_of(path)
    assert len(groups) == 3
    for value, group in enumerate(groups, start=1):
        inside = labels.array == value
        (volume,) = group.get_measurements(name=codes.SCT.Volume)
        assert volume.value == pytest.approx(inside.sum() * 0.5 * 0.75 * 4 / 1000, rel=1e-5)
        assert volume.unit.value == "mL"
        means = group.get_measurements(name=codes.DCM.AttenuationCoefficient)
        if not inside.any():
            assert (value, means) == (3, [])
            continue
        (mean,) = means
        assert mean.value == pytest.approx(scan.array[inside].mean(), rel=1e-5)
        assert mean.derivation == codes.SCT.Mean
        assert mean.unit == codes.UCUM.HounsfieldUnit
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert segment.referenced_segment_numbers == [value]
    assert [group.tracking_identifier for group in groups] == ["liver", "left_lung", "my own thing"]
    assert groups[0].finding_type.meaning == "Liver"
    assert groups[1].finding_sites[0].laterality.meaning == "Left"
    assert groups[2].finding_category.meaning == "Tissue"
    if kind == "binary":
        uids = [segment.TrackingUID for segment in segmentation.SegmentSequence]
        assert [group.tracking_uid for group in groups] == uids


def test_the_report_says_what_it_is(reported):
    _, _, segmentation, path = reported()
    made = pydicom.dcmread(path)
    assert (made.Modality, made.SeriesNumber, made.Manufacturer) == ("SR", 1006, "tfseg")
    assert (made.VerificationFlag, made.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert (made.PatientID, str(made.PatientName)) == ("12-34", "Müller^Änne")
    assert made.StudyInstanceUID == segmentation.StudyInstanceUID
    assert not any(element.tag.is_private for element in made.iterall())
    assert made.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    evidence = made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert sorted(len(series.ReferencedSOPSequence) for series in evidence) == [1, 5]


def test_the_same_stamp_gives_the_same_bytes(reported, tmp_path, about, stamp):
    scan, labels, segmentation, path = reported()
    source = read_source(tmp_path / "scan")
    write_report(labels, source, segmentation, tmp_path / "b.dcm", about, stamp, scan)
    assert path.read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_a_remark_is_in_every_object(write_scan, tmp_path, about, stamp):
    said = "made with --anyway: the model learned from CT, this scan is MR; " + "and more. " * 20
    about = dataclasses.replace(about, remark=said)
    folder = write_scan()
    scan, source = read_volume(folder), read_source(folder)
    labels = scan.with_array(np.ones(scan.shape, np.uint8))
    seg, structures, report = (tmp_path / f"{name}.dcm" for name in ("seg", "rt", "sr"))
    written = write_seg(labels, source, seg, about, stamp)
    write_report(labels, source, written, report, about, stamp)
    write_rtstruct(labels, source, structures, about, stamp)
    made = pydicom.dcmread(seg)
    assert made.ImageComments == said.strip()
    assert made.ContentDescription == said[:64].strip()
    assert pydicom.dcmread(structures).StructureSetDescription.startswith(said)
    comments = [
        item.TextValue
        for item in pydicom.dcmread(report).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "121106"
    ]
    assert comments == [said.strip()]
    assert len(groups_of(report)) == 3  # it is still a report that others read


def test_remarks_of_a_prediction_reach_its_objects(write_scan, tmp_path, about):
    folder = write_scan()
    labels = read_volume(folder).with_array(np.ones((5, 7, 9), np.uint8))
    output = Output("dicom-seg", report=True)
    said = ("segmented anyway: MR for CT", "few slices")
    source = source_for(Scan(folder, "scan"), output)
    files = write_labels(labels, tmp_path / "o.dcm", output, about, source, remarks=said)
    seg, report = (pydicom.dcmread(file) for file in files)
    assert seg.ImageComments == "segmented anyway: MR for CT; few slices"
    assert seg.ContentDescription.startswith("segmented anyway: MR for CT; few slices; liver")
    assert report.ContentSequence[-1].TextValue == seg.ImageComments


def test_means_need_the_scan_and_a_unit(reported):
    *_, path = reported(with_scan=False)
    assert not any(
        group.get_measurements(name=codes.DCM.AttenuationCoefficient) for group in groups_of(path)
    )


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"Modality": "MR"}, codes.DCM.MRSignalIntensity),
        ({"RescaleType": "MGML"}, None),
        ({"Modality": "NM"}, None),
    ],
)
def test_values_are_called_by_their_modality(reported, more, name):
    *_, path = reported(**more)
    found = {measure.name for group in groups_of(path) for measure in group.get_measurements()}
    assert {str(one.value) for one in found} == {"118565006"} | ({name.value} if name else set())


def test_measuring_by_hand():
    array = np.array([[[0, 1], [1, 2]], [[2, 2], [0, 1]]], np.uint8)
    scan = Volume.from_geometry(np.arange(8.0).reshape(2, 2, 2))
    labels = Volume.from_geometry(array, (2, 3, 5))
    millilitres, means = measured(labels, 4, scan)
    np.testing.assert_allclose(millilitres, [0.06, 0.09, 0.09, 0])
    np.testing.assert_allclose(means, [3, 10 / 3, 4, np.nan])
    assert np.isnan(measured(labels, 4, None)[1]).all()


def test_a_label_without_a_name_is_refused(reported, tmp_path, about, stamp):
    scan, labels, segmentation, path = reported()
    path.unlink()
    high = labels.with_array(np.full(labels.shape, 9, np.uint8))
    source = read_source(tmp_path / "scan")
    with pytest.raises(DataError, match="every label needs a name; 4 are named"):
        write_report(high, source, segmentation, path, about, stamp, scan)
    other = Volume(scan.array, np.eye(4))
    with pytest.raises(DataError, match="the scan must be on the grid of the labels"):
        write_report(labels, source, segmentation, path, about, stamp, other)
    assert not path.exists()


def tool(name):
    """Path of a tool; the test skips without it."""
    folders = os.pathsep.join([os.environ.get("TFSEG_DICOM_TOOLS", ""), os.environ["PATH"]])
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.skip(f"{name} is not installed (set TFSEG_DICOM_TOOLS)")
    return found


def test_dcmqi_reads_it(reported, tmp_path):
    reader = tool("tid1500reader")
    *_, path = reported()
    out = tmp_path / "report.json"
    command = [reader, "--inputDICOM", path, "--outputMetadata", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(word in out.read_text() for word in ('"Liver"', '"mL"', '"Mean"', '"Left"'))


def test_dciodvfy_finds_no_error(reported, dciodvfy):
    *_, path = reported()
    done = subprocess.run(
        [dciodvfy, "-new", path], capture_output=True, text=True, check=False, timeout=60
    )
    said = (done.stdout + done.stderr).splitlines()
    assert "ComprehensiveSR" in said
    assert [line for line in said if line.startswith("Error")] == []
