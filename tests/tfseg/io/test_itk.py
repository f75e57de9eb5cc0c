"""MetaImage and NRRD against SimpleITK itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tfseg.errors import DataError
from tfseg.io import itk, read_volume
from tfseg.volume import Volume

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def image(direction: tuple[float, ...], vector: bool = False) -> sitk.Image:
    shape = (3, 4, 5, 2) if vector else (3, 4, 5)
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    made = sitk.GetImageFromArray(values, isVector=vector)
    made.SetSpacing((0.5, 1.5, 4.0))
    made.SetOrigin((-10.0, 20.0, 30.5))
    made.SetDirection(direction)
    return made


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("direction", [OBLIQUE, FLIPPED], ids=["oblique", "flipped"])
@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
def test_voxels_lie_where_simpleitk_says(
    tmp_path: Path, suffix: str, direction: tuple[float, ...], vector: bool
) -> None:
    made = image(direction, vector)
    sitk.WriteImage(made, str(tmp_path / f"a{suffix}"))
    volume = read_volume(tmp_path / f"a{suffix}")
    assert volume.channels == (2 if vector else 1)
    for x, y, z in ((0, 0, 0), (4, 3, 2), (1, 0, 2)):
        place = made.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose((volume.affine @ [z, y, x, 1])[:3], place, atol=1e-6)
        np.testing.assert_array_equal(volume.array[z, y, x], made.GetPixel(x, y, z))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 2)])
def test_round_trip(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    direction = np.reshape(OBLIQUE, (3, 3))[:, ::-1]
    volume = Volume.from_geometry(array, (4, 0.7, 0.3), (1.5, -2, 3), direction)
    itk.write(volume, tmp_path / f"a{suffix}")
    again = itk.read(tmp_path / f"a{suffix}")
    assert np.array_equal(again.array, array)
    assert again.array.dtype == array.dtype
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-6)


def test_two_dimensions_become_one_slice(tmp_path: Path) -> None:
    flat = sitk.GetImageFromArray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    flat.SetSpacing((0.5, 0.25))
    sitk.WriteImage(flat, str(tmp_path / "a.mha"))
    volume = itk.read(tmp_path / "a.mha")
    assert volume.shape == (1, 2, 3)
    assert volume.spacing_mm == (1, 0.25, 0.5)


def test_a_fourth_dimension_becomes_channels(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), str(tmp_path / "a.mha"))
    volume = itk.read(tmp_path / "a.mha")
    assert volume.array.shape == (3, 4, 5, 2)
    assert volume.array[2, 1, 0, 1] == values[1, 2, 1, 0]


def test_broken_files_give_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sitk.WriteImage(image(OBLIQUE), str(tmp_path / "a.mha"))
    whole = (tmp_path / "a.mha").read_bytes()
    sitk.WriteImage(image(OBLIQUE), str(tmp_path / "a.nrrd"))
    huge = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 30000 30000 30000\n"
    huge += b"encoding: raw\nendian: little\n\n"
    for name, content, rule in (
        ("b.mha", whole[:-40], "truncated: 120 bytes of voxels expected, 80 found"),
        ("b.mha", b"", "no MetaImage file: its header must have NDims"),
        ("b.mha", whole.replace(b"DimSize = 5 4 3", b"DimSize = 5 4"), "must be NDims = 3 sizes"),
        ("b.mhd", whole.replace(b"LOCAL", b"/etc/hosts"), "in one file beside the header"),
        ("b.mhd", whole.replace(b"LOCAL", b"none.raw"), "there is no file .*none.raw"),
        ("b.nrrd", b"nothing", "cannot be read as .nrrd"),
        ("b.nrrd", huge, "30000 x 30000 x 30000 voxels, more than a file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rule) as caught:
            itk.read(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # ITK's own complaints would be a second line
    with pytest.raises(DataError, match="no such file"):
        itk.read(tmp_path / "none.mha")


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    real = sitk.GetImageFromArray(np.zeros((2, 3, 4), np.float32))
    sitk.WriteImage(sitk.RealAndImaginaryToComplex(real, real), str(tmp_path / "a.nrrd"))
    with pytest.raises(DataError, match=r"complex|cannot be read"):
        itk.read(tmp_path / "a.nrrd")


def test_real_nrrd(real_data: Path) -> None:
    folder = real_data / "pyradiomics"
    scan = itk.read(folder / "brain1_image.nrrd")
    label = itk.read(folder / "brain1_label.nrrd")
    reference = sitk.ReadImage(str(folder / "brain1_image.nrrd"))
    assert scan.same_grid(label)
    assert np.array_equal(scan.array, sitk.GetArrayViewFromImage(reference))
    np.testing.assert_allclose(scan.origin_mm, reference.GetOrigin())
