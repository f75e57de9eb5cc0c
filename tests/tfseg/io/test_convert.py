"""A tree of DICOM files becomes volumes and a manifest without patient data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfseg.errors import DataError
from tfseg.io import read_volume
from tfseg.io.dicom import read
from tfseg.io.dicom.convert import convert_tree

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
        source = read(tmp_path / "scan", series_uid=entry["series_uid"])
        assert np.array_equal(written.array, source.array)
        assert written.same_grid(source)
        assert entry["shape"] == [5, 4, 3]
        assert entry["orientation"] == "SPL"
        np.testing.assert_allclose(entry["affine_lps_zyx"], source.affine)
    text = (tmp_path / "out/manifest.json").read_text()
    assert json.loads(text) == manifest
    assert "Secret" not in text
    assert "secret-id" not in text
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
    with pytest.raises(DataError, match=r"none of 1 series can be converted; the first: .* frame"):
        convert_tree(tmp_path / "scan", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]
