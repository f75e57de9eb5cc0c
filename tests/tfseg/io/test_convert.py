"""A tree of DICOM files becomes volumes and a manifest without patient data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom import read
from tfseg.io.dicom.convert import convert_tree

from .conftest import misspell

ARRAY = np.random.default_rng(0).integers(-1000, 2000, (5, 4, 3)).astype(np.int16)
Write = Callable[..., list[Path]]


def test_series_of_a_deep_tree(write_series: Write, tmp_path: Path) -> None:
    write_series(ARRAY, series="3", folder="scan/Name^Secret/x")
    write_series(ARRAY, series="2", folder="scan/y", Modality="MR")
    write_series(ARRAY, series="4", folder="scan", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (tmp_path / "scan/readme.txt").write_text("not DICOM")
    manifest = convert_tree(tmp_path / "scan", tmp_path / "out")
    assert (manifest["converted"], manifest["refused"]) == (2, 1)
    assert manifest["skipped_files"] == 1
    names = [entry["file"] for entry in manifest["series"]]
    assert names[0].startswith("MR-2-")
    assert names[1].startswith("CT-3-")
    assert names[2] is None
    assert "localizer is no volume" in manifest["series"][2]["reason"]
    for entry in manifest["series"][:2]:
        written = read_volume(tmp_path / "out" / entry["file"])
        source = read(tmp_path / "scan", series_uid=f"1.2.3.{entry['number']}")
        assert np.array_equal(written.array, source.array)
        assert written.same_grid(source)
        assert entry["shape"] == [5, 4, 3]
        assert entry["orientation"] == "SPL"
        np.testing.assert_allclose(entry["affine_lps_zyx"], source.affine)
    text = (tmp_path / "out/manifest.json").read_text()
    assert json.loads(text) == manifest
    assert "Secret" not in text
    assert "secret-id" not in text
    assert "1.2.3" not in text
    assert str(tmp_path) not in text


def test_headers_do_not_choose_where_files_go(write_series: Write, tmp_path: Path) -> None:
    for path in write_series(ARRAY):
        hostile = path.read_bytes().replace(b"CS\x02\x00CT", b"CS\x08\x00../../UP", 1)
        path.write_bytes(hostile)
    manifest = convert_tree(tmp_path / "scan", tmp_path / "out")
    assert manifest["series"][0]["file"].startswith("UP-1-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "scan"]


def test_nothing_is_left_when_nothing_is_converted(write_series: Write, tmp_path: Path) -> None:
    write_series(ARRAY, NumberOfFrames=2)
    with pytest.raises(DataError, match=r"none of 1 volumes can be converted; the first: .* frame"):
        convert_tree(tmp_path / "scan", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]


def test_uids_and_names_of_damaged_files_only_when_asked_for(
    write_series: Write, tmp_path: Path
) -> None:
    folder = write_series(ARRAY)[0].parent
    damaged = folder / "Name^Secret"
    damaged.write_bytes((folder / "1-000").read_bytes()[:150])
    manifest = convert_tree(tmp_path / "scan", tmp_path / "out")
    (entry,) = manifest["damaged_files"]
    assert "the DICOM header is" in entry["reason"]
    assert "Secret" not in json.dumps(manifest)
    told = []
    manifest = convert_tree(
        tmp_path / "scan",
        tmp_path / "more",
        identify=True,
        damaged=lambda file, reason: told.append((str(file), reason)),
    )
    assert manifest["damaged_files"][0]["file"] == "Name^Secret"
    assert told == [("Name^Secret", entry["reason"])]
    assert manifest["series"][0]["series_uid"] == "1.2.3.1"


def test_volumes_of_one_series_have_names_of_their_own(write_series: Write, tmp_path: Path) -> None:
    positions = [(10, 20, 30 + 4 * (index % 3)) for index in range(6)]
    write_series(
        np.concatenate([ARRAY[:3], ARRAY[2:]]),
        positions,
        each=lambda index: {"EchoTime": 2.5 if index < 3 else 5, "InstanceNumber": index},
        Modality="MR",
        SeriesDescription="../two echoes",
    )
    manifest = convert_tree(tmp_path / "scan", tmp_path / "out")
    assert [entry["label"] for entry in manifest["series"]] == ["echo 2.5", "echo 5"]
    stems = {entry["file"].split(entry["id"])[1] for entry in manifest["series"]}
    assert stems == {"-echo-2.5.nii.gz", "-echo-5.nii.gz"}
    assert {entry["description"] for entry in manifest["series"]} == {""}
    first = read_volume(tmp_path / "out" / manifest["series"][0]["file"])
    assert np.array_equal(first.array, ARRAY[:3])


def test_refusals_name_no_path(write_series: Write, tmp_path: Path) -> None:
    good = write_series(ARRAY, series="1")
    sequences = {"PerFrameFunctionalGroupsSequence": [], "NumberOfFrames": 2}
    for number, elements in enumerate(
        (
            {"NumberOfFrames": 3},
            sequences,
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]},
            {"ModalityLUTSequence": [pydicom.Dataset()]},
            {"PixelData": b"short"},
            {"Rows": 5},
        )
    ):
        write_series(ARRAY[:1], series=str(2 + number), folder="scan/Name^Secret", **elements)
    odd = write_series(ARRAY[:1], series="10", PixelSpacing=[0.12345678, 0.8])[0]
    odd.write_bytes(odd.read_bytes().replace(b"0.12345678", b"MrSecret  "))
    pet = write_series(ARRAY, series="9", folder="scan/Name^Secret/pet", Modality="PT")
    for path in pet:  # cut within a sequence that pydicom reads
        path.write_bytes(path.read_bytes()[:-30])
    assert good[0].exists()
    manifest = convert_tree(tmp_path / "scan", tmp_path / "out")
    assert (manifest["converted"], manifest["refused"]) == (1, 7)
    text = json.dumps(manifest)
    assert "Secret" not in text
    assert str(tmp_path) not in text


TYPED = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Müller-Lüdenscheidt^Änne=別名",
    "PatientID": "KH-0047.11",
    "PatientBirthDate": "19500102",
    "AccessionNumber": "A20200177",
    "ReferringPhysicianName": "Brinkmann^K",
}


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("SeriesDescription", "Schmidt nach OP"),  # of somebody whom the header does not name
        ("ProtocolName", "wie bei Schmidt"),
        ("ContrastBolusAgent", "Schmidt bringt es mit"),
        ("BodyPartExamined", "HEAD MUELLER"),
        ("ConvolutionKernel", "B30f ANNE"),
        ("ManufacturerModelName", "kh004711"),
        ("SequenceName", "02.01.1950"),
        ("SoftwareVersions", "1950-01-02"),
        ("Manufacturer", "Dr. brinkmann"),
        ("ScanOptions", "A20200177"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AENNE", "LUDENSCHEIDT"]),
    ],
)
def test_no_word_of_people_is_written_unless_asked_for(
    write_series: Write, tmp_path: Path, keyword: str, text: str
) -> None:
    write_series(ARRAY[:3], **TYPED, **{keyword: text})
    convert_tree(tmp_path / "scan", tmp_path / "out")
    shown = text if isinstance(text, str) else text[-1]
    for path in (tmp_path / "out").rglob("*"):
        told = path.name + (path.read_text() if path.suffix == ".json" else "")
        assert shown not in told
        assert "chmidt" not in told
    convert_tree(tmp_path / "scan", tmp_path / "all", identify=True)
    assert any(shown in path.read_text() for path in (tmp_path / "all").glob("*.json"))


@pytest.mark.parametrize("name", ["UTF-8", "utf8", "ISO_IR192", "iso_ir 192", "ISO-IR 192"])
def test_names_are_found_under_a_misspelt_character_set(
    write_series: Write, tmp_path: Path, name: str
) -> None:
    for path in write_series(ARRAY[:3], **TYPED, BodyPartExamined="HEAD MUELLER"):
        misspell(path, name)
    convert_tree(tmp_path / "scan", tmp_path / "out")
    texts = [path.read_text() for path in (tmp_path / "out").glob("*.json")]
    assert texts
    assert not any("MUELLER" in text for text in texts)


def test_descriptions_that_part_volumes_do_not_name_them(
    write_series: Write, tmp_path: Path
) -> None:
    positions = [(10, 20, 30 + 4 * (index % 3)) for index in range(6)]
    write_series(
        np.concatenate([ARRAY[:3], ARRAY[2:]]),
        positions,
        each=lambda index: {"SeriesDescription": "Schmidt" if index < 3 else "Meier"},
        Modality="MR",
    )
    manifest = convert_tree(tmp_path / "scan", tmp_path / "out")
    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert len([name for name in names if name.endswith(".nii.gz")]) == 2
    assert "Schmidt" not in json.dumps(manifest) + str(names)
    assert "Meier" not in json.dumps(manifest) + str(names)
