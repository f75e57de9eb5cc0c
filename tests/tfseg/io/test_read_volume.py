"""The format is chosen by the path."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfseg.errors import DataError
from tfseg.io import read_volume, volume_stem, volume_suffix, volume_suffixes, write_volume
from tfseg.volume import Volume

VOLUME = Volume.from_geometry(np.arange(12, dtype=np.uint8).reshape(1, 3, 4), (3, 2, 1), (5, 6, 7))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ", "a.mha", "a.nrrd"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    write_volume(VOLUME, tmp_path / name)
    again = read_volume(tmp_path / name)
    assert np.array_equal(again.array, VOLUME.array)
    assert again.same_grid(VOLUME)


def test_suffix_and_stem() -> None:
    assert volume_suffix("x/scan.v2.NII.gz") == ".nii.gz"
    assert volume_stem("x/scan.v2.NII.gz") == "scan.v2"
    assert volume_stem("x/scan.seg.nrrd") == "scan"
    assert volume_stem("x/scan.seg.nii") == "scan.seg"
    assert volume_suffix("x/scan.txt") == ""
    assert volume_stem("x/1.2.840.5") == "1.2.840.5"
    assert {".nii.gz", ".mha", ".png", ".dcm"} <= set(volume_suffixes())


def test_unknown_formats_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match=r"unknown format '\.txt'\. Readable: \.nii"):
        read_volume(tmp_path / "a.txt")
    with pytest.raises(DataError, match="there is no such file or folder"):
        read_volume(tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"got suffix '\.txt'"):
        write_volume(VOLUME, tmp_path / "b.txt")


def test_pictures_can_be_refused(tmp_path: Path) -> None:
    write_volume(VOLUME, tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png").spacing_mm == (1, 1, 1)
    with pytest.raises(DataError, match="a volume is needed"):
        read_volume(tmp_path / "a.png", allow_2d=False)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.png", "a.tif"])
def test_flipped_and_missing_bytes_never_end_in_another_error(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    if name == "a.tif":
        Image.fromarray(VOLUME.array[0]).save(tmp_path / name)
    else:
        write_volume(VOLUME, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for number in range(150):
        content = bytearray(whole)
        for position in rng.integers(0, min(len(whole), 400), 3):
            content[position] = rng.integers(0, 256)
        if number % 3 == 0:
            content = content[: rng.integers(0, len(whole))]
        (tmp_path / name).write_bytes(bytes(content))
        with contextlib.suppress(DataError):  # or it is read: not every byte matters
            read_volume(tmp_path / name)
