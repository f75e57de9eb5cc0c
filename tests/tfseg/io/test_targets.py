"""Which label map each scan becomes."""

from pathlib import Path

import pytest

from tfseg.errors import ConfigError, DataError
from tfseg.io.scans import open_scans
from tfseg.io.targets import label_targets


@pytest.fixture
def scans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.nii.gz", "in/a.mha", "in/eye.png", "in/.hidden.nii", "in/notes.txt",
                 "two/a.nii", "series/1.dcm", "one/only.nii"):  # fmt: skip
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    return tmp_path


def pairs(inputs, output):
    return [(str(scan), target.as_posix()) for scan, target in targets(inputs, output)]


def targets(inputs, output, *suffixes):
    with open_scans(inputs) as (found, _):
        return label_targets(found, output, *suffixes)


@pytest.mark.parametrize("output", ["seg.nii.gz", "deep/seg.nii", "seg.mha", "seg.nrrd", "seg.png"])
def test_one_scan_to_one_file(scans, output):
    assert pairs(["in/a.mha"], output) == [("in/a.mha", output)]
    assert pairs(["series"], output) == [("series", output)]
    assert pairs(["one"], output) == [("one/only.nii", output)]


def test_a_folder_means_its_volumes_by_name(scans):
    assert pairs(["in"], "out") == [
        ("in/a.mha", "out/a.nii.gz"),
        ("in/b.nii.gz", "out/b.nii.gz"),
        ("in/eye.png", "out/eye.png"),
    ]


def test_a_format_decides_the_suffix(scans):
    made = targets(["in"], "out", (".nii.gz", ".nii"))
    assert [target.name for _, target in made] == ["a.nii.gz", "b.nii.gz", "eye.nii.gz"]
    assert targets(["in/eye.png"], "seg.nii", (".nii.gz", ".nii"))
    with pytest.raises(ConfigError, match=r"must end in \.nii\.gz or \.nii; got seg\.png"):
        targets(["in/eye.png"], "seg.png", (".nii.gz", ".nii"))


def test_a_folder_without_volume_files_is_a_dicom_folder(scans):
    assert pairs(["series", "in/b.nii.gz"], "out") == [
        ("series", "out/series.nii.gz"),
        ("in/b.nii.gz", "out/b.nii.gz"),
    ]


def test_an_existing_folder_may_have_any_name(scans):
    Path("odd.nii.gz").mkdir()
    assert pairs(["in/a.mha"], "odd.nii.gz") == [("in/a.mha", "odd.nii.gz/a.nii.gz")]


@pytest.mark.parametrize(
    ("inputs", "output", "kind", "message"),
    [
        (["gone.nii"], "out", DataError, r"gone\.nii: there is no such file or folder"),
        (["in"], "seg.nii.gz", ConfigError, r"takes one scan; 3 were given for seg\.nii\.gz"),
        (
            ["in/a.mha", "two"],
            "out",
            ConfigError,
            r"in/a\.mha and two/a\.nii would both be written",
        ),
        (["in/a.mha"] * 2, "out", ConfigError, r"would both be written to out/a\.nii\.gz"),
        (["in/a.mha"], "seg.dcm", ConfigError, r"written as \.nii\.gz, .*; got the file seg\.dcm"),
        (["in/a.mha"], "seg.jpg", ConfigError, r"got the file seg\.jpg"),
        (["in/a.mha"], "in/notes.txt", ConfigError, r"got the file in/notes\.txt"),
        (["in"], "in", ConfigError, r"label map of in/b\.nii\.gz would replace the scan in/b\.nii"),
        (["in/b.nii.gz"], "in/../in/b.nii.gz", ConfigError, r"would replace the scan"),
    ],
)
def test_other_requests_are_refused(scans, inputs, output, kind, message):
    with pytest.raises(kind, match=message):
        targets(inputs, output)
