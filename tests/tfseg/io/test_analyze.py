"""Pairs of .hdr and .img against nibabel."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tfseg import geometry
from tfseg.errors import DataError
from tfseg.io import read_volume

VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
KINDS = {
    "Analyze": nib.AnalyzeImage, "SPM99": nib.Spm99AnalyzeImage, "SPM2": nib.Spm2AnalyzeImage,
    "NIfTI": nib.Nifti1Pair,
}  # fmt: skip


def pair(folder: Path, kind: str, values: np.ndarray = VALUES, order: str = "<") -> Path:
    image = KINDS[kind](values, np.diag([-2.0, 3, 4, 1]))
    header = image.header.as_byteswapped(order)
    image = KINDS[kind](values, image.affine, header)
    nib.save(image, folder / "a.img")
    return folder / "a.hdr"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [0, 5])
def test_pairs_are_what_nibabel_says(
    tmp_path: Path, kind: str, order: str, channels: int, caplog
) -> None:
    shape = (2, 3, 4, channels) if channels else (2, 3, 4)
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    path = pair(tmp_path, kind, values, order)
    volume, reference = read_volume(path), nib.load(path)
    expected = np.asanyarray(reference.dataobj).transpose(2, 1, 0, *range(3, len(shape)))
    assert np.array_equal(volume.array, expected)
    assert np.array_equal(volume.array, values.transpose(2, 1, 0, *range(3, len(shape))))
    np.testing.assert_allclose(geometry.affine_to_ras_xyz(volume.affine), reference.affine)
    # SPM's .mat and NIfTI's forms say which side is left; the bare format does not.
    assert ("does not say which side is left" in caplog.text) == (kind == "Analyze")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pairs_are_refused(tmp_path: Path, kind: str) -> None:
    path = pair(tmp_path, kind)
    header, voxels = path.read_bytes(), path.with_suffix(".img").read_bytes()
    path.with_suffix(".img").write_bytes(voxels[:-4])
    with pytest.raises(DataError, match="truncated: 48 bytes of voxels expected, 44 found"):
        read_volume(path)
    path.with_suffix(".img").write_bytes(voxels)
    for at, content in (
        (42, b"\x00\x40\x00\x40\x00\x40"),  # sizes 16384
        (42, b"\x00\x00"),  # a size of 0
        (42, b"\xff\xff"),  # a negative size
        (70, b"\x20\x00"),  # complex
        (108, b"\x00\x00\xc0\x7f"),  # vox_offset NaN
    ):
        path.write_bytes(header[:at] + content + header[at + len(content) :])
        with pytest.raises(DataError) as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(header)
    path.with_suffix(".img").unlink()
    with pytest.raises(DataError, match="this is missing"):
        read_volume(path)
