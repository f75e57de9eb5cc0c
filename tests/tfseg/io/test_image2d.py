"""Pictures: every pixel layout in, one slice out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from tfseg.errors import DataError
from tfseg.io import image2d, read_volume, write_volume
from tfseg.volume import Volume

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 7)).astype(np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_gray(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GRAY).save(tmp_path / f"a{suffix}")
    volume = read_volume(tmp_path / f"a{suffix}")
    assert np.array_equal(volume.array, GRAY[np.newaxis])
    assert volume.spacing_mm == (1, 1, 1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_rgb(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_volume(tmp_path / f"a{suffix}").array, RGB[np.newaxis])


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(0, 160, 5, dtype=np.uint8), (32, 1))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    read = read_volume(tmp_path / "a.jpg").array[0]
    assert np.abs(read.astype(int) - smooth).max() <= 4


def test_alpha_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((5, 7, 1), 9, np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], axis=2)).save(tmp_path / "rgba.png")
    Image.fromarray(np.stack([GRAY, alpha[..., 0]], axis=2), "LA").save(tmp_path / "la.png")
    assert np.array_equal(read_volume(tmp_path / "rgba.png").array[0], RGB)
    assert np.array_equal(read_volume(tmp_path / "la.png").array[0], GRAY)


def test_palettes(tmp_path: Path) -> None:
    coloured = Image.fromarray((GRAY % 4).astype(np.uint8), "P")
    coloured.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    coloured.save(tmp_path / "a.gif")
    red = read_volume(tmp_path / "a.gif").array[0][GRAY % 4 == 1]
    assert (red == [255, 0, 0]).all()
    shades = Image.fromarray((GRAY % 2).astype(np.uint8), "P")
    shades.putpalette([0, 0, 0, 255, 255, 255])
    shades.save(tmp_path / "b.gif")
    assert np.array_equal(read_volume(tmp_path / "b.gif").array[0], (GRAY % 2) * 255)


def test_one_bit_is_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(GRAY > 128).save(tmp_path / "a.png")
    assert np.array_equal(read_volume(tmp_path / "a.png").array[0], (GRAY > 128) * 255)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray_and_colour_keep_their_bits(tmp_path: Path, suffix: str) -> None:
    gray = GRAY.astype(np.uint16) * 257 + 3
    colour = RGB.astype(np.uint16) * 257 + 3
    path = tmp_path / f"a{suffix}"
    for values, vector in ((gray, False), (colour, True)):
        sitk.WriteImage(sitk.GetImageFromArray(values, isVector=vector), str(path))
        read = read_volume(path).array[0]
        assert read.dtype == np.uint16
        assert np.array_equal(read, values)


def test_float_tiff(tmp_path: Path) -> None:
    values = GRAY.astype(np.float32) / 7
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.array_equal(read_volume(tmp_path / "a.tif").array[0], values)


def test_write_png_round_trip(tmp_path: Path) -> None:
    for values in (GRAY, GRAY.astype(np.uint16) * 200, RGB):
        write_volume(Volume.from_geometry(values[np.newaxis]), tmp_path / "a.png")
        assert np.array_equal(read_volume(tmp_path / "a.png").array[0], values)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 3, 4), np.uint8), np.zeros((1, 3, 4)), np.zeros((1, 3, 4, 2), np.uint8)]
)
def test_png_holds_one_slice(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(DataError, match="a PNG holds one slice"):
        image2d.write(Volume.from_geometry(array), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_broken_pictures(tmp_path: Path) -> None:
    Image.fromarray(RGB.repeat(40, 0).repeat(40, 1)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for content, rule in (
        (b"", "the file is empty"),
        (b"text", "no PNG, JPEG, TIFF, GIF, BMP, PPM or PGM picture"),
        (whole[: len(whole) // 2], "cannot be decoded"),
    ):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(DataError, match=rule):
            image2d.read(tmp_path / "b.png")
    with pytest.raises(DataError, match="no such file"):
        image2d.read(tmp_path / "none.png")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    first, second = Image.fromarray(GRAY), Image.fromarray(GRAY[::-1].copy())
    for name in ("a.gif", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        with pytest.raises(DataError, match="must have one frame; this file has 2"):
            image2d.read(tmp_path / name)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="too large to decode"):
        image2d.read(tmp_path / "a.png")


def test_real_pictures(real_data: Path) -> None:
    photo = read_volume(real_data / "DRIVE/training/images/21_training.tif")
    assert photo.array.shape == (1, 584, 565, 3)
    assert photo.array.dtype == np.uint8
    compared = 0
    for path in sorted((real_data / "ivadomed/data_test_png_tif").rglob("*.*")):
        if path.suffix not in {".png", ".tif", ".jpg"}:
            continue
        try:
            reference = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except RuntimeError:
            continue  # SimpleITK cannot read gray with alpha
        colours = reference[..., :3] if reference.ndim == 3 else reference
        assert np.array_equal(read_volume(path).array[0], colours), path.name
        compared += 1
    assert compared >= 5
