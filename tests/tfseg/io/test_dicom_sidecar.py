"""How a volume was acquired, against dcm2niix's own files and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tfseg.io.dicom.convert import convert_tree
from tfseg.io.dicom.sidecar import sidecar

OWN_WORDS = {"Manufacturer", "SoftwareVersions"}  # dcm2niix writes Siemens for SIEMENS
ARRAY = np.zeros((3, 4, 4), np.int16)


def saved(file: Dataset, path: Path) -> Path:
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.3"
    file.save_as(path, enforce_file_format=True)
    return path


def test_beside_every_volume(write_series, tmp_path: Path) -> None:
    settings = {
        "Modality": "MR", "EchoTime": 12.5, "RepetitionTime": "2000", "FlipAngle": "90.0",
        "ScanningSequence": ["GR", "IR"], "MagneticFieldStrength": 3, "KVP": "",
        "Manufacturer": "Maker", "PatientAge": "063Y", "PatientSex": "F", "PatientWeight": 61.5,
    }  # fmt: skip
    write_series(ARRAY, **settings)
    (entry,) = convert_tree(tmp_path / "scan", tmp_path / "out")["series"]
    beside = tmp_path / "out" / entry["file"].replace(".nii.gz", ".json")
    told = json.loads(beside.read_text())
    assert told["EchoTime"] == 0.0125
    assert told["RepetitionTime"] == 2
    assert told["FlipAngle"] == 90
    assert told["ScanningSequence"] == "GR_IR"
    assert told["MagneticFieldStrength"] == 3
    assert told["Manufacturer"] == "Maker"
    assert told["ConversionSoftware"] == "tfseg"
    assert "KVP" not in told
    assert not {name for name in told if name.startswith("Patient")} - {"PatientPosition"}
    convert_tree(tmp_path / "scan", tmp_path / "all", identify=True)
    told = json.loads((tmp_path / "all" / beside.name).read_text())
    person = {name: told[name] for name in ("PatientAge", "PatientSex", "PatientWeight")}
    assert person == {"PatientAge": "063Y", "PatientSex": "F", "PatientWeight": 61.5}
    assert not {"PatientName", "PatientID", "PatientBirthDate"} & set(told)


def test_functional_groups_of_the_frame_that_is_meant(tmp_path: Path) -> None:
    def group(echo_ms: float) -> Dataset:
        echo, group = Dataset(), Dataset()
        echo.EffectiveEchoTime = echo_ms
        group.MREchoSequence = [echo]
        return group

    timing, shared, file = Dataset(), Dataset(), Dataset()
    timing.RepetitionTime = 500
    shared.MRTimingAndRelatedParametersSequence = [timing]
    file.SharedFunctionalGroupsSequence = [shared]
    file.PerFrameFunctionalGroupsSequence = [group(4), group(9)]
    path = saved(file, tmp_path / "x.dcm")
    assert sidecar(path, 1)["EchoTime"] == 0.009
    assert sidecar(path)["EchoTime"] == 0.004
    assert sidecar(path)["RepetitionTime"] == 0.5


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_none_are_left_out(tmp_path: Path, value: str) -> None:
    file = Dataset()
    file.EchoTime = "9.75"
    path = saved(file, tmp_path / "x.dcm")
    damaged = path.read_bytes()
    assert damaged.count(b"9.75") == 1
    path.write_bytes(damaged.replace(b"9.75", f"{value:4s}".encode()))
    assert "EchoTime" not in sidecar(path)


def test_real_series_against_dcm2niix(real_data: Path) -> None:
    checked = 0
    for name in ("dcm_qa_orientation", "dcm_qa_ts", "dcm_qa_nih"):
        folder = real_data / "dicom" / name
        references = [json.loads(file.read_text()) for file in (folder / "Ref").glob("*.json")]
        for path in sorted(path for path in (folder / "In").rglob("*") if path.is_file()):
            if path.read_bytes()[128:132] != b"DICM":
                continue
            told = sidecar(path, identify=True)
            for reference in references:
                same = ("SeriesNumber", "SeriesDescription", "AcquisitionNumber", "ImageType")
                if any(told.get(key) != reference.get(key) for key in same[:3]):
                    continue
                if told.get("ImageType") != reference["ImageType"][: len(told["ImageType"])]:
                    continue
                checked += 1
                for key in (set(told) & set(reference)) - {"ImageType"}:
                    if key.startswith("Conversion") or key in OWN_WORDS:
                        continue
                    expected = reference[key]
                    if isinstance(expected, str):
                        assert told[key] == expected.replace("\\", "_"), key
                    else:
                        assert told[key] == pytest.approx(expected, rel=1e-4), key
    assert checked >= 10
